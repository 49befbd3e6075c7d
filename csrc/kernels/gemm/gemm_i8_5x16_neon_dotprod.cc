#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with -march=armv8.2-a+dotprod"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/gemm_i8_neon_inl.h"

namespace devit {
namespace {

// sdot sums four neighbours; the row's four come from a lane (compare lane_tile_neon_inl.h).
struct DotTile {
  static constexpr std::size_t kRows = 5;
  static constexpr std::size_t kStep = 4;

  template <std::size_t rows, std::size_t vecs>
  static inline void multiply(const std::int8_t* a, std::size_t a_stride,
                              const std::int8_t* weights, std::size_t depth,
                              int32x4_t (&sums)[rows][vecs]) {
    constexpr std::size_t kGroup = kStep * kI8Cols;
    constexpr std::size_t kDepth = 64;  // the pointers move once
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) sums[i][j] = vdupq_n_s32(0);
    }
    std::size_t k = 0;
    for (; k + kDepth <= depth; k += kDepth) {
#pragma GCC unroll 2
      for (std::size_t n = 0; n < kDepth; n += 32, weights += 8 * kGroup) {
        int8x16_t low[rows], high[rows];
#pragma GCC unroll 8
        for (std::size_t i = 0; i < rows; ++i) {
          low[i] = vld1q_s8(a + i * a_stride + k + n);
          high[i] = vld1q_s8(a + i * a_stride + k + n + 16);
        }
        multiply_lanes<4>(low, weights, sums);
        multiply_lanes<4>(high, weights + 4 * kGroup, sums);
      }
    }
    int8x16_t x[rows];
    for (; k + 16 <= depth; k += 16, weights += 4 * kGroup) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_s8(a + i * a_stride + k);
      multiply_lanes<4>(x, weights, sums);
    }
    for (; k < depth; k += kStep, weights += kGroup) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_s8(a + i * a_stride + k);
      multiply_lanes<1>(x, weights, sums);
    }
  }

 private:
  // Adds the products with `lanes` lanes of the rows, from the vector `first` of weights on: two of
  // them at a time, as one instruction loads them.
  template <std::size_t lanes, std::size_t first = 0, std::size_t rows, std::size_t vecs>
  [[gnu::always_inline]] static inline void multiply_lanes(const int8x16_t (&x)[rows],
                                                           const std::int8_t* weights,
                                                           int32x4_t (&sums)[rows][vecs]) {
    constexpr std::size_t kPair = first % vecs + 1 < vecs ? 2 : 1;
    const std::int8_t* from = weights + first / vecs * kStep * kI8Cols + first % vecs * 16;
    int8x16_t w[kPair];
#pragma GCC unroll 2
    for (std::size_t j = 0; j < kPair; ++j) w[j] = vld1q_s8(from + 16 * j);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 2
      for (std::size_t j = 0; j < kPair; ++j) {
        add_products<first / vecs>(sums[i][first % vecs + j], w[j], x[i]);
      }
    }
    if constexpr (first + kPair < lanes * vecs) {
      multiply_lanes<lanes, first + kPair>(x, weights, sums);
    }
  }

  // Without the intrinsic for the reason in lane_tile_neon_inl.h.
  template <int lane>
  static inline void add_products(int32x4_t& sums, int8x16_t w, int8x16_t x) {
    asm("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sums) : "w"(w), "w"(x), "i"(lane));
  }
};

}  // namespace

void gemm_i8_5x16_neon_dotprod(const GemmI8Args& args) { multiply_portion_i8<DotTile>(args); }

}  // namespace devit
