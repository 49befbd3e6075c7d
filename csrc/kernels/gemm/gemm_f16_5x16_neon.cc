#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/epilogue_neon_inl.h"
#include "kernels/gemm/gemm_f16_inl.h"
#include "kernels/gemm/lane_tile_neon_inl.h"

namespace devit {
namespace {

// The Tile of gemm_f16_inl.h that sums as gemm_f32_5x16_neon() does.
struct WideLaneTile {
  static constexpr std::size_t kRows = kTileRows;
  static constexpr std::size_t kCols = kTileCols;

  // Dispatches on the number of vectors that the columns need, at most kTileVecs.
  template <std::size_t rows, std::size_t vecs = kTileVecs>
  static inline void multiply(const WideStep& step, const float* a, std::size_t a_stride,
                              float* sums, float* out, std::size_t out_stride, std::size_t cols,
                              Epilogue epilogue) {
    if constexpr (vecs > 1) {
      if (cols <= 4 * (vecs - 1)) {
        return multiply<rows, vecs - 1>(step, a, a_stride, sums, out, out_stride, cols, epilogue);
      }
    }
    const float* from = step.bias != nullptr ? step.bias : sums;
    const std::size_t from_stride = step.bias != nullptr ? 0 : kCols;
    float32x4_t acc[rows][vecs];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = vld1q_f32(from + i * from_stride + 4 * j);
    }
    multiply_tile(a, a_stride, step.weights, kCols, step.depth, acc);
    if (step.last) return store_tile(acc, out, out_stride, cols, epilogue);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(sums + i * kCols + 4 * j, acc[i][j]);
    }
  }
};

}  // namespace

void gemm_f16_5x16_neon(const GemmF16Args& args) { multiply_portion_f16<WideLaneTile>(args); }

}  // namespace devit
