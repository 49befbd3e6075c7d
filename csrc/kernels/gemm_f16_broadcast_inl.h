#pragma once

#include "kernels/gemm_f16_inl.h"
#include "kernels/gemm_f32_inl.h"

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
  static inline void multiply(const float* a, std::size_t a_stride, const float* weights,
                              std::size_t depth, float* sums, std::size_t) {
    Vec acc[rows][kTileVecs];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kTileVecs; ++j) {
        acc[i][j] = load(sums + i * kCols + j * Vec::kLanes);
      }
    }
    Sums::template multiply<rows>(a, a_stride, weights, depth, acc);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kTileVecs; ++j) {
        store(sums + i * kCols + j * Vec::kLanes, acc[i][j]);
      }
    }
  }
};

template <typename Tile>
inline void multiply_portion_f16_broadcast(const GemmF16Args& args) {
  multiply_portion_f16<Tile>(
      args, [&](const float* sums, std::size_t rows, float* out, std::size_t cols) {
        for (std::size_t i = 0; i < rows; ++i, sums += Tile::kCols, out += args.out_stride) {
          for (std::size_t j = 0; j < Tile::kCols && j < cols; j += Vec::kLanes) {
            store_result(out + j, load(sums + j), cols - j, args.epilogue);
          }
        }
      });
}

}  // namespace
}  // namespace devit
