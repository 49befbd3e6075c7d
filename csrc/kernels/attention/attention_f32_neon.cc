#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/attention/attention_f32_inl.h"
#include "kernels/gemm/lane_tile_neon_inl.h"

namespace devit {
namespace {

// One factor is in a lane: a number of a key for the scores, a transposed weight for the values.
struct LaneProducts {
  static constexpr std::size_t kQueryVecs = 3;
  static constexpr std::size_t kKeys = 6;  // keys whose scores are in registers at once

  template <std::size_t vecs>
  static inline void transpose(const float* const (&q)[4 * vecs], std::size_t head_dim,
                               float* out) {
    for (std::size_t n = 0; n < 4 * vecs; n += 4, out += 4) {
      std::size_t d = 0;
      for (; d + 4 <= head_dim; d += 4) {
        const float32x4x2_t even = vzipq_f32(vld1q_f32(q[n] + d), vld1q_f32(q[n + 2] + d));
        const float32x4x2_t odd = vzipq_f32(vld1q_f32(q[n + 1] + d), vld1q_f32(q[n + 3] + d));
#pragma GCC unroll 2
        for (std::size_t half = 0; half < 2; ++half) {
          const float32x4x2_t columns = vzipq_f32(even.val[half], odd.val[half]);
          vst1q_f32(out + (d + 2 * half) * 4 * vecs, columns.val[0]);
          vst1q_f32(out + (d + 2 * half + 1) * 4 * vecs, columns.val[1]);
        }
      }
      for (; d < head_dim; ++d) {
        for (std::size_t i = 0; i < 4; ++i) out[d * 4 * vecs + i] = q[n + i][d];
      }
    }
  }

  template <std::size_t vecs>
  static inline void score(const AttentionF32Args& args, const float* queries, float* scores,
                           Vec (&top)[vecs]) {
    std::size_t key = 0;
    for (; key + kKeys <= args.tokens; key += kKeys) {
      score_keys<vecs, kKeys>(args, queries, key, scores, top);
    }
    for (; key < args.tokens; ++key) score_keys<vecs, 1>(args, queries, key, scores, top);
  }

  template <std::size_t vecs>
  static inline void weigh(const AttentionF32Args& args, const float* p, const float* scale,
                           std::size_t count, float* out) {
    constexpr std::size_t kValueVecs = 2;
    std::size_t dim = 0;
    for (; dim + 4 * kValueVecs <= args.head_dim; dim += 4 * kValueVecs) {
      weigh_tile<vecs, kValueVecs>(args, p, scale, count, dim, out);
    }
    for (; dim + 4 <= args.head_dim; dim += 4) {
      weigh_tile<vecs, 1>(args, p, scale, count, dim, out);
    }
    if (dim < args.head_dim) weigh_rest<vecs>(args, p, scale, count, dim, out);
  }

 private:
  template <std::size_t vecs, std::size_t rows>
  static inline void score_keys(const AttentionF32Args& args, const float* queries, std::size_t key,
                                float* scores, Vec (&top)[vecs]) {
    float32x4_t acc[rows][vecs];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t n = 0; n < vecs; ++n) acc[i][n] = vdupq_n_f32(0.0f);
    }
    multiply_tile(args.k + key * args.qkv_stride, args.qkv_stride, queries, 4 * vecs, args.head_dim,
                  acc);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t n = 0; n < vecs; ++n) {
        vst1q_f32(scores + 4 * ((key + i) * vecs + n), acc[i][n]);
        top[n] = max(top[n], {acc[i][n]});
      }
    }
  }

  template <std::size_t vecs, std::size_t value_vecs>
  static inline void weigh_tile(const AttentionF32Args& args, const float* p, const float* scale,
                                std::size_t count, std::size_t dim, float* out) {
    float32x4_t acc[4 * vecs][value_vecs];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 4 * vecs; ++i) {
#pragma GCC unroll 8
      for (std::size_t n = 0; n < value_vecs; ++n) acc[i][n] = vdupq_n_f32(0.0f);
    }
    multiply_columns<vecs>(p, args.v + dim, args.qkv_stride, args.tokens, acc);
    out += dim;
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 4 * vecs; ++i, out += args.out_stride) {
      if (i == count) return;
#pragma GCC unroll 8
      for (std::size_t n = 0; n < value_vecs; ++n) {
        vst1q_f32(out + 4 * n, vmulq_n_f32(acc[i][n], scale[i]));
      }
    }
  }

  // The last one to three numbers of a head.
  template <std::size_t vecs>
  static void weigh_rest(const AttentionF32Args& args, const float* p, const float* scale,
                         std::size_t count, std::size_t dim, float* out) {
    const std::size_t rest = args.head_dim - dim;
    Vec acc[4 * vecs];
    for (Vec& sums : acc) sums = zero();
    for (std::size_t j = 0; j < args.tokens; ++j, p += 4 * vecs) {
      const Vec y = load_partial(args.v + j * args.qkv_stride + dim, rest);
      for (std::size_t i = 0; i < 4 * vecs; ++i) acc[i] = fma(broadcast(p[i]), y, acc[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      store_partial(out + i * args.out_stride + dim, mul(acc[i], broadcast(scale[i])), rest);
    }
  }
};

}  // namespace

void attention_f32_neon(const AttentionF32Args& args) { attend_rows<LaneProducts>(args); }

}  // namespace devit
