#pragma once

#include <cstddef>

namespace devit {

// Layer norm without scale and shift (they are folded into the next linear layer).
//
//   out[i] = (x[i] - mean(x[i])) / sqrt(var(x[i]) + eps)      Ba et al. 2016, eq. (4)
//
// in two passes: the variance is that of the differences, so a large mean costs no accuracy there.
//
// Shapes    x, out: (rows, dim), rows `x_stride` and `out_stride` floats apart
// Needs     row_begin < row_end <= rows, dim > 0, eps > 0; out is x or overlaps it nowhere.
//           Nothing outside the shapes is read or written.
// Accuracy  |error| <= d + |out| (2^-24 (dim + 16) + d^2) against float64, with
//           d = 2^-24 (dim + 3) mean|x| / sqrt(var + eps)
// State     none: no allocation, no lock, no global.
struct LayerNormF32Args {
  const float* x;
  float* out;
  std::size_t dim;
  std::size_t x_stride;
  std::size_t out_stride;
  std::size_t row_begin;
  std::size_t row_end;
  float eps;
};

using LayerNormF32 = void (*)(const LayerNormF32Args&);

void layer_norm_f32_scalar(const LayerNormF32Args& args);
void layer_norm_f32_avx2(const LayerNormF32Args& args);  // x86-64 builds only
void layer_norm_f32_avx512(const LayerNormF32Args& args);
void layer_norm_f32_neon(const LayerNormF32Args& args);  // AArch64 builds only

}  // namespace devit
