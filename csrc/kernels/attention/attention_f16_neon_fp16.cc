#if !defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#error "compile this file with -march=armv8.2-a+fp16"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/attention/attention_f16.h"
#include "kernels/gemm/lane_tile_f16_neon_inl.h"
#include "kernels/gemm/round_f16_neon_inl.h"
#include "kernels/simd/math_f32_inl.h"

// A tile of 8 `vecs` queries has its scores transposed, a lane to each query, as in
// attention_f32_inl.h. In `scratch` lie the scores, halves (tokens, 8 vecs), which become the
// weights, and then 1 / their sums, floats (8 vecs).
namespace devit {
namespace {

constexpr std::size_t kKeys = 8;  // keys whose scores are in registers at once

// acc[i][n] += k[i][lane] * queries[lane][n], eight numbers of each of the `rows` keys at a time.
template <std::size_t lane, std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void score_lanes(const float16x8_t (&k)[rows], const Half* queries,
                                               float16x8_t (&acc)[rows][vecs]) {
  float16x8_t q[vecs];
#pragma GCC unroll 2
  for (std::size_t n = 0; n < vecs; ++n) {
    q[n] = load_halves(queries + lane * kTileQueriesF16 + 8 * n);
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < vecs; ++n) acc[i][n] = multiply_add<lane>(acc[i][n], q[n], k[i]);
  }
  if constexpr (lane + 1 < 8) score_lanes<lane + 1>(k, queries, acc);
}

// The scores of `rows` keys; raises the queries' maxima.
template <std::size_t rows, std::size_t vecs>
[[gnu::noinline]] void score_keys(const Half* keys, const Half* queries, std::size_t dims,
                                  Half* scores, float16x8_t (&top)[vecs]) {
  float16x8_t acc[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < vecs; ++n) acc[i][n] = vdupq_n_f16(0);
  }
  for (std::size_t d = 0; d < dims; d += 8) {
    float16x8_t k[rows];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) k[i] = load_halves(keys + i * dims + d);
    score_lanes<0>(k, queries + d * kTileQueriesF16, acc);
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < vecs; ++n) {
      store_halves(scores + 8 * (i * vecs + n), acc[i][n]);
      top[n] = vmaxq_f16(top[n], acc[i][n]);
    }
  }
}

// The last keys, fewer than kKeys.
template <std::size_t vecs, std::size_t rows = kKeys - 1>
void score_rest(const Half* keys, const Half* queries, std::size_t dims, std::size_t left,
                Half* scores, float16x8_t (&top)[vecs]) {
  if constexpr (rows > 1) {
    if (left < rows) return score_rest<vecs, rows - 1>(keys, queries, dims, left, scores, top);
  }
  score_keys<rows>(keys, queries, dims, scores, top);
}

// Replaces scores x by exp(scale (x - top)); writes 1 / the sums. Not inlined: by itself it has
// registers enough for all constants.
template <std::size_t vecs>
[[gnu::noinline]] void exp_scores(std::size_t tokens, float scale, const float16x8_t (&top)[vecs],
                                  Half* scores, float* inverse_sums) {
  Vec highest[2 * vecs], total[2 * vecs];
#pragma GCC unroll 2
  for (std::size_t n = 0; n < vecs; ++n) {
    highest[2 * n] = {vcvt_f32_f16(vget_low_f16(top[n]))};
    highest[2 * n + 1] = {vcvt_high_f32_f16(top[n])};
    total[2 * n] = total[2 * n + 1] = zero();
  }
  const Vec factor = broadcast(scale);
  for (std::size_t j = 0; j < tokens; ++j) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < vecs; ++n, scores += 8) {
      const float16x8_t x = load_halves(scores);
      const Vec low = sub({vcvt_f32_f16(vget_low_f16(x))}, highest[2 * n]);
      const Vec high = sub({vcvt_high_f32_f16(x)}, highest[2 * n + 1]);
      const Vec first = exp_nonpositive(mul(low, factor));
      const Vec second = exp_nonpositive(mul(high, factor));
      total[2 * n] = add(total[2 * n], first);
      total[2 * n + 1] = add(total[2 * n + 1], second);
      store_halves(scores, vcvt_high_f16_f32(vcvt_f16_f32(first.v), second.v));
    }
  }
#pragma GCC unroll 4
  for (std::size_t n = 0; n < 2 * vecs; ++n) {
    store(inverse_sums + 4 * n, div(broadcast(1.0f), total[n]));
  }
}

template <std::size_t lane, std::size_t vecs>
[[gnu::always_inline]] inline void weigh_lanes(const float16x8_t (&p)[vecs], float16x8_t v,
                                               float16x8_t (&acc)[8 * vecs]) {
#pragma GCC unroll 2
  for (std::size_t n = 0; n < vecs; ++n) {
    acc[8 * n + lane] = multiply_add<lane>(acc[8 * n + lane], v, p[n]);
  }
  if constexpr (lane + 1 < 8) weigh_lanes<lane + 1>(p, v, acc);
}

// acc[i] += p[i] * v for one key.
template <std::size_t vecs>
[[gnu::always_inline]] inline void weigh_key(const Half* p, const Half* value,
                                             float16x8_t (&acc)[8 * vecs]) {
  float16x8_t weights[vecs];
#pragma GCC unroll 2
  for (std::size_t n = 0; n < vecs; ++n) weights[n] = load_halves(p + 8 * n);
  weigh_lanes<0>(weights, load_halves(value), acc);
}

// sums[i] += sum_j p[j][i] v[j] for `count` keys and eight numbers of a value. Not inline: these
// sums stay in memory, so that the registers hold those of the block.
template <std::size_t vecs>
[[gnu::noinline]] void weigh_block(const Half* p, const Half* values, std::size_t stride,
                                   std::size_t count, float16x8_t (&sums)[8 * vecs]) {
  float16x8_t acc[8 * vecs];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 8 * vecs; ++i) acc[i] = vdupq_n_f16(0);
  constexpr std::size_t kStep = 4;  // the pointers move once
  std::size_t j = 0;
  for (; j + kStep <= count; j += kStep, p += kStep * 8 * vecs) {
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kStep; ++n, values += stride) {
      weigh_key<vecs>(p + n * 8 * vecs, values, acc);
    }
  }
  for (; j < count; ++j, p += 8 * vecs, values += stride) weigh_key<vecs>(p, values, acc);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 8 * vecs; ++i) sums[i] = vaddq_f16(sums[i], acc[i]);
}

// out[i] = scale[i] * sum_j p[j][i] v[j] for eight numbers of a value, of which `width` are
// written, and `count` queries.
template <std::size_t vecs>
void weigh(const AttentionF16Args& args, const Half* p, const float* inverse_sums,
           std::size_t count, std::size_t dim, float* out) {
  const std::size_t stride = padded_dims_f16(args.head_dim);
  float16x8_t sums[8 * vecs] = {};
  for (std::size_t j = 0; j < args.tokens; j += kHalfBlock) {
    const std::size_t keys = args.tokens - j < kHalfBlock ? args.tokens - j : kHalfBlock;
    weigh_block<vecs>(p + j * 8 * vecs, args.head->values + j * stride + dim, stride, keys, sums);
  }
  const std::size_t width = args.head_dim - dim;
  for (std::size_t i = 0; i < count; ++i, out += args.out_stride) {
    const Vec factor = broadcast(args.head->value_scale * inverse_sums[i]);
    const Vec low = mul({vcvt_f32_f16(vget_low_f16(sums[i]))}, factor);
    const Vec high = mul({vcvt_high_f32_f16(sums[i])}, factor);
    if (width >= 8) {
      store(out, low);
      store(out + 4, high);
    } else if (width >= 4) {
      store(out, low);
      store_partial(out + 4, high, width - 4);
    } else {
      store_partial(out, low, width);
    }
  }
}

// The queries [row, row + count), count <= 8 vecs.
template <std::size_t vecs>
void attend_tile(const AttentionF16Args& args, std::size_t row, std::size_t count) {
  const std::size_t dims = padded_dims_f16(args.head_dim);
  const Half* queries = args.head->queries + row * dims;
  Half* scores = reinterpret_cast<Half*>(args.scratch);
  float* inverse_sums = args.scratch + kTileQueriesF16 * args.tokens / 2;
  float16x8_t top[vecs];
#pragma GCC unroll 2
  for (std::size_t n = 0; n < vecs; ++n) top[n] = vdupq_n_f16(-__builtin_inff16());
  std::size_t key = 0;
  for (; key + kKeys <= args.tokens; key += kKeys) {
    score_keys<kKeys>(args.head->keys + key * dims, queries, dims, scores + key * 8 * vecs, top);
  }
  if (key < args.tokens) {
    score_rest<vecs>(args.head->keys + key * dims, queries, dims, args.tokens - key,
                     scores + key * 8 * vecs, top);
  }
  exp_scores<vecs>(args.tokens, args.head->score_scale, top, scores, inverse_sums);
  for (std::size_t dim = 0; dim < args.head_dim; dim += 8) {
    weigh<vecs>(args, scores, inverse_sums, count, dim, args.out + row * args.out_stride + dim);
  }
}

}  // namespace

void attention_f16_neon_fp16(const AttentionF16Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; row += kTileQueriesF16) {
    const std::size_t left = args.row_end - row;
    if (left > 8) {
      attend_tile<2>(args, row, left < kTileQueriesF16 ? left : kTileQueriesF16);
    } else {
      attend_tile<1>(args, row, left);
    }
  }
}

}  // namespace devit
