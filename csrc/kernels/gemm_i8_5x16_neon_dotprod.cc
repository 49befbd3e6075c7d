#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with -march=armv8.2-a+dotprod"
#endif

#include "kernels/simd_neon.h"

#include "kernels/gemm_i8_neon_inl.h"

namespace devit {
namespace {

// sdot sums four neighbours; the row's four come from a lane (compare lane_tile_neon_inl.h).
struct DotTile {
  static constexpr std::size_t kRows = 5;
  static constexpr std::size_t kStep = 4;

  template <int lane, std::size_t rows, std::size_t vecs>
  static inline void multiply_lane(const int8x16_t (&x)[rows], const std::int8_t* weights,
                                   int32x4_t (&sums)[rows][vecs]) {
    int8x16_t w[vecs];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) w[j] = vld1q_s8(weights + 16 * j);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) {
        sums[i][j] = vdotq_laneq_s32(sums[i][j], w[j], x[i], lane);
      }
    }
  }

  template <std::size_t rows, std::size_t vecs>
  static inline void multiply(const std::int8_t* a, std::size_t a_stride,
                              const std::int8_t* weights, std::size_t depth,
                              int32x4_t (&sums)[rows][vecs]) {
    constexpr std::size_t kGroup = kStep * kI8Cols;
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) sums[i][j] = vdupq_n_s32(0);
    }
    const std::size_t whole = depth / 16 * 16;
    for (std::size_t k = 0; k < whole; k += 16, weights += 4 * kGroup) {
      int8x16_t x[rows];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_s8(a + i * a_stride + k);
      multiply_lane<0>(x, weights, sums);
      multiply_lane<1>(x, weights + kGroup, sums);
      multiply_lane<2>(x, weights + 2 * kGroup, sums);
      multiply_lane<3>(x, weights + 3 * kGroup, sums);
    }
    for (std::size_t k = whole; k < depth; k += kStep, weights += kGroup) {
      int8x16_t x[rows];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_s8(a + i * a_stride + k);
      multiply_lane<0>(x, weights, sums);
    }
  }
};

}  // namespace

void gemm_i8_5x16_neon_dotprod(const GemmI8Args& args) { multiply_portion_i8<DotTile>(args); }

}  // namespace devit
