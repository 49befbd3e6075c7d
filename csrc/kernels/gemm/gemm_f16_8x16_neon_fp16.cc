#if !defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#error "compile this file with -march=armv8.2-a+fp16"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/epilogue_neon_inl.h"
#include "kernels/gemm/gemm_f16.h"
#include "kernels/gemm/lane_tile_f16_neon_inl.h"
#include "kernels/gemm/round_f16_neon_inl.h"

namespace devit {
namespace {

// 8 x 2 vectors: 16 multiply-adds need 3 loads, and all fits the registers.
constexpr std::size_t kRows = 8;
constexpr std::size_t kVecs = 2;
constexpr std::size_t kCols = 8 * kVecs;

template <int lane, std::size_t rows, std::size_t vecs>
inline void multiply_lane(const float16x8_t (&x)[rows], const Half* weights,
                          float16x8_t (&acc)[rows][vecs]) {
  float16x8_t w[vecs];
#pragma GCC unroll 2
  for (std::size_t j = 0; j < vecs; ++j) w[j] = load_halves(weights + 8 * j);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = multiply_add<lane>(acc[i][j], w[j], x[i]);
  }
}

// Adds sums of `depth` <= kHalfBlock products to sums (rows, kCols). Not inline: these stay in
// memory, so that the registers hold the halves.
template <std::size_t rows, std::size_t vecs>
[[gnu::noinline]] void multiply_block(const Half* a, std::size_t a_stride, const Half* weights,
                                      std::size_t depth, float* sums) {
  float16x8_t acc[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = vdupq_n_f16(0);
  }
  float16x8_t x[rows];
  std::size_t k = 0;
  for (; k + 8 <= depth; k += 8, weights += 8 * kCols) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = load_halves(a + i * a_stride + k);
    multiply_lane<0>(x, weights, acc);
    multiply_lane<1>(x, weights + kCols, acc);
    multiply_lane<2>(x, weights + 2 * kCols, acc);
    multiply_lane<3>(x, weights + 3 * kCols, acc);
    multiply_lane<4>(x, weights + 4 * kCols, acc);
    multiply_lane<5>(x, weights + 5 * kCols, acc);
    multiply_lane<6>(x, weights + 6 * kCols, acc);
    multiply_lane<7>(x, weights + 7 * kCols, acc);
  }
  for (; k < depth; ++k, weights += kCols) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
      x[i] = vreinterpretq_f16_u16(vld1q_dup_u16(&a[i * a_stride + k].bits));
    }
    multiply_lane<0>(x, weights, acc);
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i, sums += kCols) {
#pragma GCC unroll 2
    for (std::size_t j = 0; j < vecs; ++j) {
      const float32x4_t low = vcvt_f32_f16(vget_low_f16(acc[i][j]));
      const float32x4_t high = vcvt_high_f32_f16(acc[i][j]);
      vst1q_f32(sums + 8 * j, vaddq_f32(vld1q_f32(sums + 8 * j), low));
      vst1q_f32(sums + 8 * j + 4, vaddq_f32(vld1q_f32(sums + 8 * j + 4), high));
    }
  }
}

template <std::size_t rows, std::size_t vecs>
void compute_tile(const GemmF16Args& args, std::size_t row, std::size_t panel) {
  const float* bias = reinterpret_cast<const float*>(args.panels + panel * args.panel_stride);
  const Half* weights = reinterpret_cast<const Half*>(bias + kCols);
  const Half* a = static_cast<const Half*>(args.a) + row * args.a_stride;
  float sums[rows * kCols] = {};
  for (std::size_t k = 0; k < args.depth; k += kHalfBlock) {
    const std::size_t depth = args.depth - k < kHalfBlock ? args.depth - k : kHalfBlock;
    multiply_block<rows, (vecs + 1) / 2>(a + k, args.a_stride, weights + k * kCols, depth, sums);
  }
  float32x4_t y[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (std::size_t j = 0; j < vecs; ++j) {
      const float32x4_t sum = vld1q_f32(sums + i * kCols + 4 * j);
      y[i][j] = vfmaq_n_f32(vld1q_f32(bias + 4 * j), sum, args.a_scale[row + i]);
    }
  }
  const std::size_t col = panel * kCols;
  store_tile(y, args.out + row * args.out_stride + col, args.out_stride, args.cols - col,
             args.epilogue);
}

// Dispatches on the number of vectors of results that the panel's columns need.
template <std::size_t rows, std::size_t vecs = 2 * kVecs>
void compute_panel(const GemmF16Args& args, std::size_t row, std::size_t panel) {
  if constexpr (vecs > 1) {
    if (args.cols - panel * kCols <= 4 * (vecs - 1)) {
      return compute_panel<rows, vecs - 1>(args, row, panel);
    }
  }
  compute_tile<rows, vecs>(args, row, panel);
}

// Dispatches on the number of rows left, at most kRows.
template <std::size_t rows = kRows>
void compute_rows(const GemmF16Args& args, std::size_t row, std::size_t panel, std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) return compute_rows<rows - 1>(args, row, panel, left);
  }
  compute_panel<rows>(args, row, panel);
}

}  // namespace

// One panel stays in the nearest cache while all rows of the portion pass by.
void gemm_f16_8x16_neon_fp16(const GemmF16Args& args) {
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::size_t row = args.row_begin; row < args.row_end; row += kRows) {
      compute_rows(args, row, panel, args.row_end - row);
    }
  }
}

}  // namespace devit
