#pragma once

#include "kernels/attention/attention_f32_inl.h"
#include "kernels/gemm/outer_products_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

// One factor is broadcast from memory: for instruction sets with cheap broadcast loads. So many
// vectors of queries, and of one row of values, are in registers at once, with the sums of so many
// keys, then of so many queries.
template <std::size_t query_vecs, std::size_t value_vecs, std::size_t sum_rows>
struct BroadcastProducts {
  static constexpr std::size_t kQueryVecs = query_vecs;
  static constexpr std::size_t kSumRows = sum_rows;

  template <std::size_t vecs>
  static inline void transpose(const float* const (&q)[vecs * Vec::kLanes], std::size_t head_dim,
                               float* out) {
    constexpr std::size_t kWidth = vecs * Vec::kLanes;
    for (std::size_t i = 0; i < kWidth; ++i) {
      for (std::size_t d = 0; d < head_dim; ++d) out[d * kWidth + i] = q[i][d];
    }
  }

  template <std::size_t vecs>
  static inline void score(const AttentionF32Args& args, const float* queries, float* scores,
                           Vec (&top)[vecs]) {
    for (std::size_t key = 0; key < args.tokens; key += kSumRows) {
      score_keys<vecs>(args, queries, key, scores, top);
    }
  }

  template <std::size_t vecs>
  static inline void weigh(const AttentionF32Args& args, const float* p, const float* scale,
                           std::size_t count, float* out) {
    constexpr std::size_t kWidth = vecs * Vec::kLanes;
    for (std::size_t i = 0; i < count; i += kSumRows) {
      weigh_rows(args, p + i, kWidth, scale + i, count - i, out + i * args.out_stride);
    }
  }

 private:
  // `rows` keys from `key`; fewer, at the end, are other instances.
  template <std::size_t vecs, std::size_t rows = kSumRows>
  static inline void score_keys(const AttentionF32Args& args, const float* queries, std::size_t key,
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

  // `rows` queries, `vecs` vectors from `dim`.
  template <std::size_t rows, std::size_t vecs, typename Part>
  static inline void weigh_tile(const AttentionF32Args& args, const float* p, std::size_t width,
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
  template <std::size_t rows = kSumRows>
  static inline void weigh_rows(const AttentionF32Args& args, const float* p, std::size_t width,
                                const float* scale, std::size_t left, float* out) {
    if constexpr (rows > 1) {
      if (left < rows) return weigh_rows<rows - 1>(args, p, width, scale, left, out);
    }
    constexpr std::size_t kLanes = Vec::kLanes;
    std::size_t dim = 0;
    for (; dim + value_vecs * kLanes <= args.head_dim; dim += value_vecs * kLanes) {
      weigh_tile<rows, value_vecs>(args, p, width, scale, dim, whole_vectors, out);
    }
    for (; dim + kLanes <= args.head_dim; dim += kLanes) {
      weigh_tile<rows, 1>(args, p, width, scale, dim, whole_vectors, out);
    }
    if (dim < args.head_dim) {
      weigh_tile<rows, 1>(args, p, width, scale, dim, FirstLanes{args.head_dim - dim}, out);
    }
  }
};

}  // namespace
}  // namespace devit
