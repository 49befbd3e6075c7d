#pragma once

#include <cstddef>

namespace devit {

// One portion of a linear layer on packed weights.
//
//   out[i][j] = f(bias[j] + sum_k a[i][k] * weight[j][k])
//
// with f(y) = y, or GELU(y) = y * (1 + erf(y / sqrt(2))) / 2 (Hendrycks & Gimpel 2016, exact form),
// or y + the old out[i][j].
//
// Shapes    a:   (rows, depth), rows `a_stride` floats apart
//           out: (rows, cols), rows `out_stride` floats apart
//           panels: see packed_gemm_f32_size(); `weight` is (cols, depth)
// Needs     row_begin < row_end <= rows; panel_begin < panel_end <= ceil(cols / tile_cols);
//           depth > 0; out overlaps no input. Nothing outside the shapes is read or written.
// Accuracy  |error| <= e = (depth + 3) 2^-24 * (|bias| + sum_k |a w| + |old out|) against float64;
//           with GELU: <= 1.13 e + 2^-24 (4 min(|y|, 5.3) + |GELU(y)|) + 2^-148
//           An element's value does not depend on the portion that computed it.
// State     none: no allocation, no lock, no global. The caller owns threads and tiling.
enum class Epilogue { kNone, kGelu, kResidual };

struct GemmF32Args {
  const float* a;
  const float* panels;
  float* out;
  std::size_t depth;
  std::size_t cols;
  std::size_t a_stride;
  std::size_t out_stride;
  std::size_t row_begin;
  std::size_t row_end;
  std::size_t panel_begin;  // panel p holds columns [p * tile_cols, (p + 1) * tile_cols)
  std::size_t panel_end;
  Epilogue epilogue;
};

struct GemmF32 {
  std::size_t tile_rows;  // portions are best a multiple of this many rows
  std::size_t tile_cols;  // columns in one panel
  void (*run)(const GemmF32Args&);
};

// The layout of packed weights: ceil(cols / tile_cols) panels, each of one row of biases and
// `depth` rows of weights, all `tile_cols` floats wide; columns past the last are zeros.
std::size_t packed_gemm_f32_size(std::size_t depth, std::size_t cols, std::size_t tile_cols);

// Writes the weights of all panels from `weight` (cols, depth); leaves the biases alone.
void pack_gemm_f32_weight(const float* weight, std::size_t depth, std::size_t cols,
                          std::size_t tile_cols, float* panels);

// Writes the biases of all panels; leaves the weights alone.
void pack_gemm_f32_bias(const float* bias, std::size_t depth, std::size_t cols,
                        std::size_t tile_cols, float* panels);

void gemm_f32_4x8_scalar(const GemmF32Args& args);
void gemm_f32_6x16_avx2(const GemmF32Args& args);  // x86-64 builds only
void gemm_f32_12x32_avx512(const GemmF32Args& args);
void gemm_f32_5x16_neon(const GemmF32Args& args);  // AArch64 builds only

}  // namespace devit
