#pragma once

#include "kernels/attention_f32.h"
#include "kernels/math_f32_inl.h"
#include "kernels/outer_products_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
//
// A tile of kAttentionRows queries or fewer has its scores transposed: a lane belongs to a query,
// so that maximum, exponential and sum need no work across lanes. In `scratch` lie the queries,
// transposed, (head_dim, width); the scores, (tokens, width); and 1 / the sums, (width).
namespace devit {
namespace {

constexpr std::size_t kSumRows = 6;  // keys, then queries, whose sums are in registers at once

inline std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// Lanes past the last query repeat it: what they give is never used.
template <std::size_t width>
inline void transpose_queries(const AttentionF32Args& args, std::size_t row, float* out) {
  for (std::size_t i = 0; i < width; ++i) {
    const float* q = args.q + smaller(row + i, args.row_end - 1) * args.qkv_stride;
    for (std::size_t d = 0; d < args.head_dim; ++d) out[d * width + i] = q[d];
  }
}

// scores[j][i] = <q[i], k[j]> for `rows` keys from `key`; raises the queries' maxima.
template <std::size_t vecs, std::size_t rows = kSumRows>
inline void score_keys(const AttentionF32Args& args, const float* queries, std::size_t key,
                       float* scores, Vec (&top)[vecs]) {
  if constexpr (rows > 1) {
    if (args.tokens - key < rows) {
      return score_keys<vecs, rows - 1>(args, queries, key, scores, top);
    }
  }
  constexpr std::size_t kWidth = vecs * Vec::kLanes;
  Vec acc[rows][vecs];
  fill(acc, zero());
  add_outer_products({args.k + key * args.qkv_stride, args.qkv_stride, 1}, {queries, kWidth},
                     args.head_dim, whole_vectors, acc);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n) {
      store(scores + (key + i) * kWidth + n * Vec::kLanes, acc[i][n]);
      top[n] = max(top[n], acc[i][n]);
    }
  }
}

// Replaces the scores by exp(score - top); writes 1 / their sums.
template <std::size_t vecs>
inline void exp_scores(std::size_t tokens, const Vec (&top)[vecs], float* scores, float* scale) {
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

// out[i][dim...] = scale[i] * sum_j p[j][i] v[j][dim...] for `rows` queries, `vecs` vectors.
template <std::size_t rows, std::size_t vecs, typename Part>
inline void weigh_tile(const AttentionF32Args& args, const float* p, std::size_t width,
                       const float* scale, std::size_t dim, Part part, float* out) {
  Vec acc[rows][vecs];
  fill(acc, zero());
  add_outer_products({p, 1, width}, {args.v + dim, args.qkv_stride}, args.tokens, part, acc);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n) {
      part.store(out + i * args.out_stride + dim + n * Vec::kLanes,
                 mul(acc[i][n], broadcast(scale[i])));
    }
  }
}

// All of head_dim, for `rows` queries; fewer, `left`, are other instances.
template <std::size_t vecs, std::size_t rows = kSumRows>
inline void weigh_values(const AttentionF32Args& args, const float* p, std::size_t width,
                         const float* scale, std::size_t left, float* out) {
  if constexpr (rows > 1) {
    if (left < rows) return weigh_values<vecs, rows - 1>(args, p, width, scale, left, out);
  }
  constexpr std::size_t kLanes = Vec::kLanes;
  std::size_t dim = 0;
  for (; dim + vecs * kLanes <= args.head_dim; dim += vecs * kLanes) {
    weigh_tile<rows, vecs>(args, p, width, scale, dim, whole_vectors, out);
  }
  for (; dim + kLanes <= args.head_dim; dim += kLanes) {
    weigh_tile<rows, 1>(args, p, width, scale, dim, whole_vectors, out);
  }
  if (dim < args.head_dim) {
    weigh_tile<rows, 1>(args, p, width, scale, dim, FirstLanes{args.head_dim - dim}, out);
  }
}

// The queries [row, row + count), count <= the width of `query_vecs` vectors.
template <std::size_t query_vecs, std::size_t value_vecs>
inline void attend_tile(const AttentionF32Args& args, std::size_t row, std::size_t count) {
  constexpr std::size_t kWidth = query_vecs * Vec::kLanes;
  float* queries = args.scratch;
  float* scores = queries + args.head_dim * kWidth;
  float* scale = scores + args.tokens * kWidth;
  transpose_queries<kWidth>(args, row, queries);
  Vec top[query_vecs];
#pragma GCC unroll 16
  for (std::size_t n = 0; n < query_vecs; ++n) top[n] = broadcast(-__builtin_inff());
  for (std::size_t key = 0; key < args.tokens; key += kSumRows) {
    score_keys<query_vecs>(args, queries, key, scores, top);
  }
  exp_scores<query_vecs>(args.tokens, top, scores, scale);
  for (std::size_t i = 0; i < count; i += kSumRows) {
    weigh_values<value_vecs>(args, scores + i, kWidth, scale + i, count - i,
                             args.out + (row + i) * args.out_stride);
  }
}

// The last tile has as few vectors of queries as hold the rest.
template <std::size_t query_vecs, std::size_t value_vecs>
inline void attend_rest(const AttentionF32Args& args, std::size_t row) {
  const std::size_t left = args.row_end - row;
  if constexpr (query_vecs > 1) {
    if (left <= (query_vecs - 1) * Vec::kLanes) {
      return attend_rest<query_vecs - 1, value_vecs>(args, row);
    }
  }
  attend_tile<query_vecs, value_vecs>(args, row, left);
}

// How many vectors of queries, and of one row of values, are in registers at once.
template <std::size_t query_vecs, std::size_t value_vecs>
inline void attend_rows(const AttentionF32Args& args) {
  constexpr std::size_t kWidth = query_vecs * Vec::kLanes;
  static_assert(kWidth <= kAttentionRows);
  std::size_t row = args.row_begin;
  for (; row + kWidth <= args.row_end; row += kWidth) {
    attend_tile<query_vecs, value_vecs>(args, row, kWidth);
  }
  if (row < args.row_end) attend_rest<query_vecs, value_vecs>(args, row);
}

}  // namespace
}  // namespace devit
