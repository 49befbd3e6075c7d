#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/gemm_f32_inl.h"

namespace devit {
namespace {

// Four elements of each row of `a` in one load; fmla then takes its factor from a lane.
struct LaneTile {
  static constexpr std::size_t kRows = 8;
  static constexpr std::size_t kVecs = 2;
  static constexpr std::size_t kCols = kVecs * Vec::kLanes;

  template <int lane, std::size_t rows>
  static inline void step(const float32x4_t (&x)[rows], const float* weights,
                          Vec (&acc)[rows][kVecs]) {
    const float32x4_t w0 = vld1q_f32(weights);
    const float32x4_t w1 = vld1q_f32(weights + Vec::kLanes);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
      acc[i][0].v = vfmaq_laneq_f32(acc[i][0].v, w0, x[i], lane);
      acc[i][1].v = vfmaq_laneq_f32(acc[i][1].v, w1, x[i], lane);
    }
  }

  template <std::size_t rows>
  static inline void multiply(const float* a, std::size_t a_stride, const float* weights,
                              std::size_t depth, Vec (&acc)[rows][kVecs]) {
    std::size_t k = 0;
    for (; k + 4 <= depth; k += 4, weights += 4 * kCols) {
      float32x4_t x[rows];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_f32(a + i * a_stride + k);
      step<0>(x, weights, acc);
      step<1>(x, weights + kCols, acc);
      step<2>(x, weights + 2 * kCols, acc);
      step<3>(x, weights + 3 * kCols, acc);
    }
    BroadcastTile<kRows, kVecs>::template multiply<rows>(a + k, a_stride, weights, depth - k, acc);
  }
};

}  // namespace

void gemm_f32_8x8_neon(const GemmF32Args& args) { multiply_portion<LaneTile>(args); }

}  // namespace devit
