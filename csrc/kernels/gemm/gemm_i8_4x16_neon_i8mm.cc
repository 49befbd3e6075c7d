#if !defined(__ARM_FEATURE_MATMUL_INT8)
#error "compile this file with -march=armv8.2-a+i8mm"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/gemm_i8_neon_inl.h"

namespace devit {
namespace {

// smmla multiplies two rows by two columns, eight neighbours at a time.
struct MatrixTile {
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kStep = 8;

  template <std::size_t pairs, std::size_t vecs>
  static inline void multiply_group(const int8x16_t (&x)[pairs], const std::int8_t* weights,
                                    int32x4_t (&squares)[pairs][2 * vecs]) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < 2 * vecs; j += 2) {
      const int8x16_t w[] = {vld1q_s8(weights + 16 * j), vld1q_s8(weights + 16 * j + 16)};
#pragma GCC unroll 8
      for (std::size_t p = 0; p < pairs; ++p) {
        squares[p][j] = vmmlaq_s32(squares[p][j], x[p], w[0]);
        squares[p][j + 1] = vmmlaq_s32(squares[p][j + 1], x[p], w[1]);
      }
    }
  }

  template <std::size_t rows, std::size_t vecs>
  static inline void multiply(const std::int8_t* a, std::size_t a_stride,
                              const std::int8_t* weights, std::size_t depth,
                              int32x4_t (&sums)[rows][vecs]) {
    constexpr std::size_t kPairs = (rows + 1) / 2;
    constexpr std::size_t kGroup = kStep * kI8Cols;
    int32x4_t squares[kPairs][2 * vecs];  // two rows by two columns
#pragma GCC unroll 8
    for (std::size_t p = 0; p < kPairs; ++p) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 2 * vecs; ++j) squares[p][j] = vdupq_n_s32(0);
    }
    // An odd row out is its own neighbour.
    const auto second = [](std::size_t p) { return 2 * p + 1 < rows ? 2 * p + 1 : 2 * p; };
    std::size_t k = 0;
    for (; k + 16 <= depth; k += 16, weights += 2 * kGroup) {
      int8x16_t left[kPairs];
      int8x16_t right[kPairs];
#pragma GCC unroll 8
      for (std::size_t p = 0; p < kPairs; ++p) {
        const int64x2_t x0 = vreinterpretq_s64_s8(vld1q_s8(a + 2 * p * a_stride + k));
        const int64x2_t x1 = vreinterpretq_s64_s8(vld1q_s8(a + second(p) * a_stride + k));
        left[p] = vreinterpretq_s8_s64(vzip1q_s64(x0, x1));
        right[p] = vreinterpretq_s8_s64(vzip2q_s64(x0, x1));
      }
      multiply_group<kPairs, vecs>(left, weights, squares);
      multiply_group<kPairs, vecs>(right, weights + kGroup, squares);
    }
    for (; k < depth; k += kStep, weights += kGroup) {
      int8x16_t x[kPairs];
#pragma GCC unroll 8
      for (std::size_t p = 0; p < kPairs; ++p) {
        x[p] =
            vcombine_s8(vld1_s8(a + 2 * p * a_stride + k), vld1_s8(a + second(p) * a_stride + k));
      }
      multiply_group<kPairs, vecs>(x, weights, squares);
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) {
        const int64x2_t low = vreinterpretq_s64_s32(squares[i / 2][2 * j]);
        const int64x2_t high = vreinterpretq_s64_s32(squares[i / 2][2 * j + 1]);
        sums[i][j] =
            vreinterpretq_s32_s64(i % 2 == 0 ? vzip1q_s64(low, high) : vzip2q_s64(low, high));
      }
    }
  }
};

}  // namespace

void gemm_i8_4x16_neon_i8mm(const GemmI8Args& args) { multiply_portion_i8<MatrixTile>(args); }

}  // namespace devit
