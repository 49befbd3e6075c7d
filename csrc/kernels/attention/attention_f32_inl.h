#pragma once

#include "kernels/attention/attention_f32.h"
#include "kernels/simd/math_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
//
// A tile of queries has its scores transposed: a lane belongs to a query, so that maximum,
// exponential and sum need no work across lanes. In `scratch` lie the queries, transposed,
// (head_dim, width); the scores, (tokens, width); and 1 / the sums, (width).
//
// A Products says how the two matrix products of a tile as wide as `vecs` vectors are made:
//   static constexpr std::size_t kQueryVecs;  // vectors of queries in a whole tile
//   // out[d][i] = q[i][d] for all of head_dim; `q` are the queries' rows.
//   template <std::size_t vecs> static void transpose(
//       const float* const (&q)[vecs * Vec::kLanes], std::size_t head_dim, float* out);
//   // scores[j][i] = <q[i], k[j]> for all keys; raises the queries' maxima.
//   template <std::size_t vecs> static void score(const AttentionF32Args& args,
//       const float* queries, float* scores, Vec (&top)[vecs]);
//   // out[i] = scale[i] * sum_j p[j][i] v[j] for `count` queries.
//   template <std::size_t vecs> static void weigh(const AttentionF32Args& args, const float* p,
//       const float* scale, std::size_t count, float* out);
namespace devit {
namespace {

// Replaces the scores by exp(score - top); writes 1 / their sums. Not inlined: by itself it has
// registers enough for all constants.
template <std::size_t vecs>
[[gnu::noinline]] void exp_scores(std::size_t tokens, const Vec (&top)[vecs], float* scores,
                                  float* scale) {
  Vec total[vecs];
#pragma GCC unroll 16
  for (std::size_t n = 0; n < vecs; ++n) total[n] = zero();
  for (std::size_t j = 0; j < tokens; ++j) {
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n, scores += Vec::kLanes) {
      const Vec p = exp_nonpositive(sub(load(scores), top[n]));
      store(scores, p);
      total[n] = add(total[n], p);
    }
  }
#pragma GCC unroll 16
  for (std::size_t n = 0; n < vecs; ++n) {
    store(scale + n * Vec::kLanes, div(broadcast(1.0f), total[n]));
  }
}

// The queries [row, row + count), count <= the width of `vecs` vectors.
template <typename Products, std::size_t vecs>
inline void attend_tile(const AttentionF32Args& args, std::size_t row, std::size_t count) {
  constexpr std::size_t kWidth = vecs * Vec::kLanes;
  float* queries = args.scratch;
  float* scores = queries + args.head_dim * kWidth;
  float* scale = scores + args.tokens * kWidth;
  const float* q[kWidth];
  for (std::size_t i = 0; i < kWidth; ++i) {  // past the last it is repeated, and never used
    q[i] = args.q + (row + (i < count ? i : count - 1)) * args.qkv_stride;
  }
  Products::template transpose<vecs>(q, args.head_dim, queries);
  Vec top[vecs];
#pragma GCC unroll 16
  for (std::size_t n = 0; n < vecs; ++n) top[n] = broadcast(-__builtin_inff());
  Products::template score<vecs>(args, queries, scores, top);
  exp_scores<vecs>(args.tokens, top, scores, scale);
  Products::template weigh<vecs>(args, scores, scale, count, args.out + row * args.out_stride);
}

// The last tile has as few vectors of queries as hold the rest.
template <typename Products, std::size_t vecs = Products::kQueryVecs>
inline void attend_rest(const AttentionF32Args& args, std::size_t row) {
  const std::size_t left = args.row_end - row;
  if constexpr (vecs > 1) {
    if (left <= (vecs - 1) * Vec::kLanes) return attend_rest<Products, vecs - 1>(args, row);
  }
  attend_tile<Products, vecs>(args, row, left);
}

template <typename Products>
inline void attend_rows(const AttentionF32Args& args) {
  constexpr std::size_t kWidth = Products::kQueryVecs * Vec::kLanes;
  static_assert(kWidth <= kAttentionRows);
  std::size_t row = args.row_begin;
  for (; row + kWidth <= args.row_end; row += kWidth) {
    attend_tile<Products, Products::kQueryVecs>(args, row, kWidth);
  }
  if (row < args.row_end) attend_rest<Products>(args, row);
}

}  // namespace
}  // namespace devit
