#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/epilogue_neon_inl.h"
#include "kernels/gemm_f16_inl.h"
#include "kernels/lane_tile_neon_inl.h"

namespace devit {
namespace {

// The Tile of gemm_f16_inl.h that sums as gemm_f32_5x16_neon() does.
struct WideLaneTile {
  static constexpr std::size_t kRows = kTileRows;
  static constexpr std::size_t kCols = kTileCols;

  // Dispatches on the number of vectors that the columns need, at most kTileVecs.
  template <std::size_t rows, std::size_t vecs = kTileVecs>
  static inline void multiply(const float* a, std::size_t a_stride, const float* weights,
                              std::size_t depth, float* sums, std::size_t cols) {
    if constexpr (vecs > 1) {
      if (cols <= 4 * (vecs - 1)) {
        return multiply<rows, vecs - 1>(a, a_stride, weights, depth, sums, cols);
      }
    }
    float32x4_t acc[rows][vecs];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = vld1q_f32(sums + i * kCols + 4 * j);
    }
    multiply_tile(a, a_stride, weights, kCols, depth, acc);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(sums + i * kCols + 4 * j, acc[i][j]);
    }
  }
};

}  // namespace

void gemm_f16_5x16_neon(const GemmF16Args& args) {
  multiply_portion_f16<WideLaneTile>(
      args, [&](float* sums, std::size_t rows, float* out, std::size_t cols) {
        finish_sums(sums, rows, kTileCols, out, args.out_stride, cols, args.epilogue);
      });
}

}  // namespace devit
