#pragma once

#include "kernels/attention_f32.h"
#include "kernels/math_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

constexpr std::size_t kScoreRows = 3;  // queries and
constexpr std::size_t kScoreKeys = 4;  // keys whose products are summed at once, in registers

inline std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// scores[i * stride + j] = <q[i], k[j]> for kScoreRows queries and kScoreKeys keys.
inline void score_tile(const float* const (&q)[kScoreRows], const float* const (&k)[kScoreKeys],
                       std::size_t head_dim, float* scores, std::size_t stride) {
  Vec acc[kScoreRows][kScoreKeys];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kScoreRows; ++i) {
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kScoreKeys; ++j) acc[i][j] = zero();
  }
  const auto step = [&](const auto& get, std::size_t d) {
    Vec x[kScoreRows];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kScoreRows; ++i) x[i] = get(q[i] + d);
#pragma GCC unroll 16
    for (std::size_t j = 0; j < kScoreKeys; ++j) {
      const Vec y = get(k[j] + d);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kScoreRows; ++i) acc[i][j] = fma(x[i], y, acc[i][j]);
    }
  };
  const std::size_t whole = head_dim - head_dim % Vec::kLanes;
  for (std::size_t d = 0; d < whole; d += Vec::kLanes) {
    step([](const float* p) { return load(p); }, d);
  }
  if (whole != head_dim) {
    step([rest = head_dim - whole](const float* p) { return load_partial(p, rest); }, whole);
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kScoreRows; ++i) {
    store_sums(scores + i * stride, acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
  }
}

// All scores of the kAttentionRows queries from `row`. Edges repeat the last row or key: what
// they give is never used.
inline void score_rows(const AttentionF32Args& args, std::size_t row, std::size_t stride) {
  for (std::size_t key = 0; key < args.tokens; key += kScoreKeys) {
    const float* k[kScoreKeys];
    for (std::size_t j = 0; j < kScoreKeys; ++j) {
      k[j] = args.k + smaller(key + j, args.tokens - 1) * args.qkv_stride;
    }
    for (std::size_t i = 0; i < kAttentionRows && row + i < args.row_end; i += kScoreRows) {
      const float* q[kScoreRows];
      for (std::size_t n = 0; n < kScoreRows; ++n) {
        q[n] = args.q + smaller(row + i + n, args.row_end - 1) * args.qkv_stride;
      }
      score_tile(q, k, args.head_dim, args.scratch + i * stride + key, stride);
    }
  }
}

// Replaces a row of scores by exp(score - max), padding by zeros; returns 1 / their sum.
inline float exp_row(float* scores, std::size_t tokens, std::size_t stride) {
  for (std::size_t j = tokens; j < stride; ++j) scores[j] = -__builtin_inff();
  Vec top = load(scores);
  for (std::size_t j = Vec::kLanes; j < stride; j += Vec::kLanes) top = max(top, load(scores + j));
  const Vec shift = broadcast(largest(top));
  Vec total = zero();
  for (std::size_t j = 0; j < stride; j += Vec::kLanes) {
    const Vec p = exp_nonpositive(sub(load(scores + j), shift));
    store(scores + j, p);
    total = add(total, p);
  }
  return 1.0f / sum(total);
}

// out[i][dim...] = scale[i] * sum_j p[i][j] v[j][dim...] for `vecs` vectors from `dim`; a partial
// one has only `rest` lanes.
template <std::size_t vecs, bool partial>
inline void weigh_values(const AttentionF32Args& args, std::size_t row, std::size_t dim,
                         std::size_t rest, const float (&scale)[kAttentionRows],
                         std::size_t stride) {
  Vec acc[kAttentionRows][vecs];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kAttentionRows; ++i) {
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n) acc[i][n] = zero();
  }
  const float* v = args.v + dim;
  for (std::size_t j = 0; j < args.tokens; ++j, v += args.qkv_stride) {
    Vec y[vecs];
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n) {
      y[n] = partial ? load_partial(v, rest) : load(v + n * Vec::kLanes);
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kAttentionRows; ++i) {
      const Vec p = broadcast(args.scratch[i * stride + j]);
#pragma GCC unroll 16
      for (std::size_t n = 0; n < vecs; ++n) acc[i][n] = fma(p, y[n], acc[i][n]);
    }
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kAttentionRows; ++i) {
    if (row + i >= args.row_end) break;
    float* out = args.out + (row + i) * args.out_stride + dim;
#pragma GCC unroll 16
    for (std::size_t n = 0; n < vecs; ++n) {
      const Vec result = mul(acc[i][n], broadcast(scale[i]));
      if constexpr (partial) {
        store_partial(out, result, rest);
      } else {
        store(out + n * Vec::kLanes, result);
      }
    }
  }
}

inline void attend_rows(const AttentionF32Args& args) {
  constexpr std::size_t kLanes = Vec::kLanes;
  const std::size_t stride = attention_f32_score_stride(args.tokens);
  for (std::size_t row = args.row_begin; row < args.row_end; row += kAttentionRows) {
    score_rows(args, row, stride);
    float scale[kAttentionRows] = {};
    for (std::size_t i = 0; i < kAttentionRows && row + i < args.row_end; ++i) {
      scale[i] = exp_row(args.scratch + i * stride, args.tokens, stride);
    }
    std::size_t dim = 0;
    for (; dim + 2 * kLanes <= args.head_dim; dim += 2 * kLanes) {
      weigh_values<2, false>(args, row, dim, 0, scale, stride);
    }
    if (dim + kLanes <= args.head_dim) {
      weigh_values<1, false>(args, row, dim, 0, scale, stride);
      dim += kLanes;
    }
    if (dim < args.head_dim) {
      weigh_values<1, true>(args, row, dim, args.head_dim - dim, scale, stride);
    }
  }
}

}  // namespace
}  // namespace devit
