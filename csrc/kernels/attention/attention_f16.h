#pragma once

#include <cstddef>

#include "kernels/gemm/gemm_f16.h"

namespace devit {

// Self-attention of one head in halves (IEEE 754 binary16), for networks whose linear layers are
// computed in fewer than 32 bits. 1/sqrt(head_dim) is folded into q beforehand.
//
//   out[i] = sum_j softmax_j(<q[i], k[j]>) * v[j]      Vaswani et al. 2017, eq. (1)
//
// pack() makes halves of a head once; run() computes some of its rows, and may do so on several
// threads at a time. Scores are summed in halves, their exponentials are float32, and weighted
// values are summed in halves, kHalfBlock keys at a time.
//
// Heads of more numbers than that are left to attention_f32.h: sums would be too long.
inline constexpr std::size_t kMaxHeadF16 = kHalfBlock;

// Queries in one tile: row_begin is a multiple of it.
inline constexpr std::size_t kTileQueriesF16 = 16;

// One head in halves: x = scale * half, with powers of two as scales. Zeros fill up head_dim to
// `dims`, a multiple of 8.
//
// Shapes    queries: (ceil(rows / 16), dims, 16), transposed by tiles; the last tile is filled up
//                    with zeros
//           keys, values: (tokens, dims)
struct HeadF16 {
  Half* queries;
  Half* keys;
  Half* values;
  float score_scale;  // the scale of q times that of k
  float value_scale;
};

// Numbers of one row, filled up.
constexpr std::size_t padded_dims_f16(std::size_t head_dim) { return (head_dim + 7) / 8 * 8; }

// Halves in `queries`, and in `keys` or `values`.
constexpr std::size_t packed_queries_f16(std::size_t rows, std::size_t head_dim) {
  return (rows + kTileQueriesF16 - 1) / kTileQueriesF16 * kTileQueriesF16 *
         padded_dims_f16(head_dim);
}
constexpr std::size_t packed_rows_f16(std::size_t tokens, std::size_t head_dim) {
  return tokens * padded_dims_f16(head_dim);
}

// Writes all that HeadF16 points to, and its scales.
//
// Shapes    q: (rows, head_dim), k, v: (tokens, head_dim), rows `qkv_stride` floats apart
// Needs     0 < rows <= tokens < 2^16; 0 < head_dim <= kMaxHeadF16. Nothing outside the shapes is
//           read or written.
// Accuracy  of a part p of q, k and v, with limits L of 16, 16 and 2^15 / tokens:
//           |x - scale half| <= 2^-11 |x| + 2^-24 max|p| / L
//           A part that is below 2^-96 becomes zeros. One that holds a NaN, or a number of 2^96 or
//           more, gives a scale that is NaN, so that all results are NaN.
// State     none: no allocation, no lock, no global.
struct PackHeadF16Args {
  const float* q;
  const float* k;
  const float* v;
  HeadF16* head;
  std::size_t tokens;
  std::size_t rows;
  std::size_t head_dim;
  std::size_t qkv_stride;
};

// Shapes    out: (rows, head_dim), rows `out_stride` floats apart
//           scratch: attention_f16_scratch(tokens) floats, this thread's own
// Needs     what pack() needs; row_begin < row_end <= rows, row_begin a multiple of
//           kTileQueriesF16. Nothing outside the shapes is read or written.
// Accuracy  against float64 on q, k, v: |error| <= max|v| (e^2d - 1 + 2^-11 (1.1 B + 4)
//           + 2^-22 tokens), with B = min(tokens, kHalfBlock) + ceil(tokens / kHalfBlock) and
//           d = 2^-11 1.1 (head_dim + 2) s + 2^-24 head_dim max|q| max|k|, the error of a score,
//           where s = max_ij sum_d |q[i][d] k[j][d]|; while head_dim max|q| max|k| <= 2^18.
//           A row's value does not depend on the portion that computed it.
// State     none: no allocation, no lock, no global. The caller owns threads and tiling.
struct AttentionF16Args {
  const HeadF16* head;
  float* out;
  float* scratch;
  std::size_t tokens;
  std::size_t head_dim;
  std::size_t out_stride;
  std::size_t row_begin;  // this call writes out[row_begin, row_end)
  std::size_t row_end;
};

// Floats: the scores of a tile as halves, and its sums.
constexpr std::size_t attention_f16_scratch(std::size_t tokens) {
  return kTileQueriesF16 * tokens / 2 + kTileQueriesF16;
}

struct AttentionF16 {
  void (*pack)(const PackHeadF16Args&);  // null, as run, where halves are not faster
  void (*run)(const AttentionF16Args&);
};

void pack_head_f16_neon_fp16(const PackHeadF16Args& args);
void attention_f16_neon_fp16(const AttentionF16Args& args);

}  // namespace devit
