#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/attention_f32.h"
#include "kernels/lane_tile_neon_inl.h"
#include "kernels/math_f32_inl.h"

namespace devit {
namespace {

constexpr std::size_t kKeys = 4;      // whose products with kTileRows queries are summed at once
constexpr std::size_t kUnrolled = 8;  // vectors of a head in one go: fewer steps of the pointers
static_assert(kTileRows <= kAttentionRows);

// Floats from one row of scores to the next: whole groups of keys.
constexpr std::size_t score_stride(std::size_t tokens) {
  return (tokens + kKeys - 1) / kKeys * kKeys;
}

// acc[i][j] += sum_d q[i][d] k[j][d] over `vecs` vectors from d, lane by lane.
template <std::size_t vecs, std::size_t rows>
inline void multiply_keys(const float* const (&q)[rows], const float* const (&k)[kKeys],
                          std::size_t d, float32x4_t (&acc)[rows][kKeys]) {
  constexpr std::size_t kPair = vecs > 1 ? 2 : 1;  // neighbours that one instruction loads
#pragma GCC unroll 8
  for (std::size_t n = d; n < d + 4 * vecs; n += 4 * kPair) {
    float32x4_t y[kKeys][kPair];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < kKeys; ++j) {
#pragma GCC unroll 2
      for (std::size_t m = 0; m < kPair; ++m) y[j][m] = vld1q_f32(k[j] + n + 4 * m);
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
      float32x4_t x[kPair];
#pragma GCC unroll 2
      for (std::size_t m = 0; m < kPair; ++m) x[m] = vld1q_f32(q[i] + n + 4 * m);
#pragma GCC unroll 2
      for (std::size_t m = 0; m < kPair; ++m) {
#pragma GCC unroll 8
        for (std::size_t j = 0; j < kKeys; ++j) acc[i][j] = vfmaq_f32(acc[i][j], x[m], y[j][m]);
      }
    }
  }
}

// scores[i * stride + j] = <q[i], k[j]>.
template <std::size_t rows>
inline void score_tile(const float* const (&q)[rows], const float* const (&k)[kKeys],
                       std::size_t head_dim, float* scores, std::size_t stride) {
  float32x4_t acc[rows][kKeys];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < kKeys; ++j) acc[i][j] = vdupq_n_f32(0.0f);
  }
  std::size_t d = 0;
  for (; d + 4 * kUnrolled <= head_dim; d += 4 * kUnrolled) multiply_keys<kUnrolled>(q, k, d, acc);
  for (; d + 4 <= head_dim; d += 4) multiply_keys<1>(q, k, d, acc);
  if (d < head_dim) {
    float32x4_t x[rows];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = load_partial(q[i] + d, head_dim - d).v;
#pragma GCC unroll 8
    for (std::size_t j = 0; j < kKeys; ++j) {
      const float32x4_t y = load_partial(k[j] + d, head_dim - d).v;
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) acc[i][j] = vfmaq_f32(acc[i][j], x[i], y);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
    store_sums(scores + i * stride, {acc[i][0]}, {acc[i][1]}, {acc[i][2]}, {acc[i][3]});
  }
}

// All scores of `rows` queries. Past the last key it is repeated: what that gives is never used.
template <std::size_t rows>
inline void score_rows(const AttentionF32Args& args, std::size_t row, std::size_t stride) {
  const float* q[rows];
  for (std::size_t i = 0; i < rows; ++i) q[i] = args.q + (row + i) * args.qkv_stride;
  for (std::size_t key = 0; key < args.tokens; key += kKeys) {
    const float* k[kKeys];
    for (std::size_t j = 0; j < kKeys; ++j) {
      const std::size_t last = args.tokens - 1;
      k[j] = args.k + (key + j < last ? key + j : last) * args.qkv_stride;
    }
    score_tile<rows>(q, k, args.head_dim, args.scratch + key, stride);
  }
}

// Replaces a row of scores by exp(score - max), padding by zeros; returns 1 / their sum.
inline float exp_row(float* scores, std::size_t tokens, std::size_t stride) {
  for (std::size_t j = tokens; j < stride; ++j) scores[j] = -__builtin_inff();
  Vec top = load(scores);
  for (std::size_t j = 4; j < stride; j += 4) top = max(top, load(scores + j));
  const Vec shift = broadcast(largest(top));
  Vec total = zero();
  for (std::size_t j = 0; j < stride; j += 4) {
    const Vec p = exp_nonpositive(sub(load(scores + j), shift));
    store(scores + j, p);
    total = add(total, p);
  }
  return 1.0f / sum(total);
}

// out[i][dim...] = scale[i] * sum_j p[i][j] v[j][dim...] for `vecs` vectors from `dim`.
template <std::size_t vecs, std::size_t rows>
inline void weigh_values(const AttentionF32Args& args, std::size_t row, std::size_t dim,
                         const float (&scale)[rows], std::size_t stride) {
  float32x4_t acc[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = vdupq_n_f32(0.0f);
  }
  multiply_tile(args.scratch, stride, args.v + dim, args.qkv_stride, args.tokens, acc);
  float* out = args.out + row * args.out_stride + dim;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i, out += args.out_stride) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(out + 4 * j, vmulq_n_f32(acc[i][j], scale[i]));
  }
}

// The same for the last one to three numbers of a head.
template <std::size_t rows>
void weigh_rest(const AttentionF32Args& args, std::size_t row, std::size_t dim,
                const float (&scale)[rows], std::size_t stride) {
  const std::size_t rest = args.head_dim - dim;
  Vec acc[rows];
  for (std::size_t i = 0; i < rows; ++i) acc[i] = zero();
  for (std::size_t j = 0; j < args.tokens; ++j) {
    const Vec y = load_partial(args.v + j * args.qkv_stride + dim, rest);
    for (std::size_t i = 0; i < rows; ++i) {
      acc[i] = fma(broadcast(args.scratch[i * stride + j]), y, acc[i]);
    }
  }
  for (std::size_t i = 0; i < rows; ++i) {
    float* out = args.out + (row + i) * args.out_stride + dim;
    store_partial(out, mul(acc[i], broadcast(scale[i])), rest);
  }
}

template <std::size_t rows>
void attend_rows(const AttentionF32Args& args, std::size_t row, std::size_t stride) {
  score_rows<rows>(args, row, stride);
  float scale[rows];
  for (std::size_t i = 0; i < rows; ++i) {
    scale[i] = exp_row(args.scratch + i * stride, args.tokens, stride);
  }
  std::size_t dim = 0;
  for (; dim + kTileCols <= args.head_dim; dim += kTileCols) {
    weigh_values<kTileVecs>(args, row, dim, scale, stride);
  }
  for (; dim + 4 <= args.head_dim; dim += 4) weigh_values<1>(args, row, dim, scale, stride);
  if (dim < args.head_dim) weigh_rest(args, row, dim, scale, stride);
}

// Dispatches on the number of queries left, at most kTileRows.
template <std::size_t rows = kTileRows>
void attend_left(const AttentionF32Args& args, std::size_t row, std::size_t stride) {
  if constexpr (rows > 1) {
    if (args.row_end - row < rows) return attend_left<rows - 1>(args, row, stride);
  }
  attend_rows<rows>(args, row, stride);
}

}  // namespace

void attention_f32_neon(const AttentionF32Args& args) {
  const std::size_t stride = score_stride(args.tokens);
  for (std::size_t row = args.row_begin; row < args.row_end; row += kTileRows) {
    attend_left(args, row, stride);
  }
}

}  // namespace devit
