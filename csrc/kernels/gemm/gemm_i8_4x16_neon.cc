#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/gemm_i8_neon_inl.h"

namespace devit {
namespace {

// Without sdot, products of bytes are added in pairs of 16 bits, which hold two of them whatever
// they are (activations or weights are at least -127), and then in 32 bits: 16 products in 3
// instructions.
struct PairTile {
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kStep = 16;

  // sums[i] = four columns' sums of products with row i.
  template <std::size_t rows>
  static inline void multiply_columns(const std::int8_t* a, std::size_t a_stride,
                                      const std::int8_t* weights, std::size_t depth,
                                      int32x4_t (&sums)[rows]) {
    int32x4_t acc[rows][4];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 4; ++j) acc[i][j] = vdupq_n_s32(0);
    }
    for (std::size_t k = 0; k < depth; k += kStep, weights += kStep * kI8Cols) {
      int8x16_t x[rows];
      int8x16_t w[4];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_s8(a + i * a_stride + k);
#pragma GCC unroll 8
      for (std::size_t j = 0; j < 4; ++j) w[j] = vld1q_s8(weights + 16 * j);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) {
        int16x8_t pairs[4];
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 4; ++j) {
          pairs[j] = vmull_s8(vget_low_s8(x[i]), vget_low_s8(w[j]));
        }
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 4; ++j) pairs[j] = vmlal_high_s8(pairs[j], x[i], w[j]);
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 4; ++j) acc[i][j] = vpadalq_s16(acc[i][j], pairs[j]);
      }
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
      sums[i] = vpaddq_s32(vpaddq_s32(acc[i][0], acc[i][1]), vpaddq_s32(acc[i][2], acc[i][3]));
    }
  }

  template <std::size_t rows, std::size_t vecs>
  static inline void multiply(const std::int8_t* a, std::size_t a_stride,
                              const std::int8_t* weights, std::size_t depth,
                              int32x4_t (&sums)[rows][vecs]) {
    for (std::size_t j = 0; j < vecs; ++j) {
      int32x4_t four[rows];
      multiply_columns(a, a_stride, weights + j * 4 * kStep, depth, four);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) sums[i][j] = four[i];
    }
  }
};

}  // namespace

void gemm_i8_4x16_neon(const GemmI8Args& args) { multiply_portion_i8<PairTile>(args); }

}  // namespace devit
