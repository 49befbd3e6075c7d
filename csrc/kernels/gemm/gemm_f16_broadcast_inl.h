#pragma once

#include "kernels/gemm/gemm_f16_inl.h"
#include "kernels/gemm/gemm_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

// The Tile of gemm_f16_inl.h that sums as BroadcastTile does.
template <std::size_t kTileRows, std::size_t kTileVecs>
struct WideBroadcastTile {
  using Sums = BroadcastTile<kTileRows, kTileVecs>;
  static constexpr std::size_t kRows = Sums::kRows;
  static constexpr std::size_t kCols = Sums::kCols;

  template <std::size_t rows>
  static inline void multiply(const WideStep& step, const float* a, std::size_t a_stride,
                              float* sums, float* out, std::size_t out_stride, std::size_t cols,
                              Epilogue epilogue) {
    const float* from = step.bias != nullptr ? step.bias : sums;
    const std::size_t from_stride = step.bias != nullptr ? 0 : kCols;
    Vec acc[rows][kTileVecs];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kTileVecs; ++j) {
        acc[i][j] = load(from + i * from_stride + j * Vec::kLanes);
      }
    }
    Sums::template multiply<rows>(a, a_stride, step.weights, step.depth, acc);
    if (step.last) return store_tile<Sums, rows>(acc, out, out_stride, cols, epilogue);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kTileVecs; ++j) {
        store(sums + i * kCols + j * Vec::kLanes, acc[i][j]);
      }
    }
  }
};

}  // namespace
}  // namespace devit
