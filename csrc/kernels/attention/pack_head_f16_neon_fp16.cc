#if !defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#error "compile this file with -march=armv8.2-a+fp16"
#endif

#include "kernels/attention/attention_f16.h"
#include "kernels/gemm/round_f16_neon_inl.h"

namespace devit {
namespace {

// Sums of kMaxHeadF16 products of two such numbers stay in the range of halves.
constexpr float kScoreLimit = 16.0f;
static_assert(kScoreLimit * kScoreLimit * kMaxHeadF16 <= 0x1p15f);

// Sums of `tokens` values, weighted by 1 at most, stay in the range of halves.
float value_limit(std::size_t tokens) {
  float limit = 0x1p15f;
  while (limit * static_cast<float>(tokens) > 0x1p15f) limit /= 2.0f;
  return limit;
}

HalfScale scale_of(const float* x, std::size_t rows, std::size_t dim, std::size_t stride,
                   float limit) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::uint32_t row = largest_bits(x + i * stride, dim);
    bits = row > bits ? row : bits;
  }
  return half_scale(bits, limit);
}

// A row and the zeros that fill it up; all are zeros where `inverse` is 0, NaN and infinity too.
inline void write_row(const float* x, float inverse, std::size_t dim, Half* q) {
  const std::size_t written = inverse == 0.0f ? 0 : dim;
  write_halves(x, inverse, written, q);
  __builtin_memset(q + written, 0, (padded_dims_f16(dim) - written) * sizeof(Half));
}

void write_rows(const float* x, float inverse, const PackHeadF16Args& args, Half* q) {
  for (std::size_t i = 0; i < args.tokens; ++i, q += padded_dims_f16(args.head_dim)) {
    write_row(x + i * args.qkv_stride, inverse, args.head_dim, q);
  }
}

// Turns eight rows of eight halves into columns: out[d][i] = rows[i][d], columns 16 halves apart.
inline void transpose_8x8(const Half* rows, std::size_t stride, Half* out) {
  float16x8_t x[8], y[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) x[i] = load_halves(rows + i * stride);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    y[2 * i] = vzip1q_f16(x[i], x[i + 4]);
    y[2 * i + 1] = vzip2q_f16(x[i], x[i + 4]);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    x[2 * i] = vzip1q_f16(y[i], y[i + 4]);
    x[2 * i + 1] = vzip2q_f16(y[i], y[i + 4]);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    store_halves(out + 2 * i * kTileQueriesF16, vzip1q_f16(x[i], x[i + 4]));
    store_halves(out + (2 * i + 1) * kTileQueriesF16, vzip2q_f16(x[i], x[i + 4]));
  }
}

void write_queries(const PackHeadF16Args& args, float inverse, Half* out) {
  const std::size_t dims = padded_dims_f16(args.head_dim);
  Half rows[8 * kMaxHeadF16];
  for (std::size_t row = 0; row < args.rows; row += kTileQueriesF16) {
    for (std::size_t first = 0; first < kTileQueriesF16; first += 8) {
      for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t query = row + first + i;
        const bool there = query < args.rows;
        write_row(args.q + (there ? query : 0) * args.qkv_stride, there ? inverse : 0.0f,
                  args.head_dim, rows + i * dims);
      }
      for (std::size_t d = 0; d < dims; d += 8) {
        transpose_8x8(rows + d, dims, out + d * kTileQueriesF16 + first);
      }
    }
    out += dims * kTileQueriesF16;
  }
}

}  // namespace

void pack_head_f16_neon_fp16(const PackHeadF16Args& args) {
  HeadF16& head = *args.head;
  const auto scale = [&](const float* x, std::size_t rows, float limit) {
    return scale_of(x, rows, args.head_dim, args.qkv_stride, limit);
  };
  const HalfScale q = scale(args.q, args.rows, kScoreLimit);
  const HalfScale k = scale(args.k, args.tokens, kScoreLimit);
  const HalfScale v = scale(args.v, args.tokens, value_limit(args.tokens));
  head.score_scale = q.scale * k.scale;
  head.value_scale = v.scale;
  write_queries(args, q.inverse, head.queries);
  write_rows(args.k, k.inverse, args, head.keys);
  write_rows(args.v, v.inverse, args, head.values);
}

}  // namespace devit
