#pragma once

#include <cstddef>

namespace devit {

// Self-attention of one head for some query rows. 1/sqrt(head_dim) is folded into q beforehand.
//
//   out[i] = sum_j softmax_j(<q[i], k[j]>) * v[j]      Vaswani et al. 2017, eq. (1)
//
// Scores exist for kAttentionRows queries at a time only, in `scratch`.
//
// Shapes    q, k, v: (tokens, head_dim), rows `qkv_stride` floats apart, read in place
//           out:     (tokens, head_dim), rows `out_stride` floats apart
//           scratch: attention_f32_scratch(tokens, head_dim) floats, this thread's own
// Needs     row_begin < row_end <= tokens, head_dim > 0; out overlaps no input.
//           Nothing outside the shapes is read or written.
// Accuracy  |error| <= 2^-24 * max|v| * (2 tokens + 2 (head_dim + 3) s + 16) against float64, with
//           s = max_ij sum_d |q[i][d] k[j][d]|, while (head_dim + 3) s <= 2^18
//           A row's value does not depend on the portion that computed it.
// State     none: no allocation, no lock, no global. The caller owns threads and tiling.
struct AttentionF32Args {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  float* scratch;
  std::size_t tokens;
  std::size_t head_dim;
  std::size_t qkv_stride;
  std::size_t out_stride;
  std::size_t row_begin;  // this call writes out[row_begin, row_end)
  std::size_t row_end;
};

// No kernel takes more rows at a time.
inline constexpr std::size_t kAttentionRows = 16;

constexpr std::size_t attention_f32_scratch(std::size_t tokens, std::size_t head_dim) {
  return kAttentionRows * (tokens + head_dim + 1);
}

struct AttentionF32 {
  std::size_t tile_rows;  // portions are best a multiple of this many rows
  void (*run)(const AttentionF32Args&);
};

void attention_f32_scalar(const AttentionF32Args& args);
void attention_f32_avx2(const AttentionF32Args& args);  // x86-64 builds only
void attention_f32_avx512(const AttentionF32Args& args);
void attention_f32_neon(const AttentionF32Args& args);  // AArch64 builds only

}  // namespace devit
