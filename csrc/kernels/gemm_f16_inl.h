#pragma once

#include "kernels/gemm_f16.h"

// Include simd_<isa>.h first, in a block of its own.
//
// Linear layers on halves in float32. Some rows of a panel become floats, in a buffer that the
// nearest cache holds, and are multiplied with a block of activations. Sums wait for the next rows
// as they are, so the result is the one without blocks.
//
// A Tile says how sums grow, in the order of gemm_f32 of the same row of the registry:
//   static constexpr std::size_t kRows, kCols;
//   template <std::size_t rows> static void multiply(const float* a, std::size_t a_stride,
//       const float* weights, std::size_t depth, float* sums, std::size_t cols);
// with weights (depth, kCols) and sums (rows, kCols), of which the first `cols` columns count;
// `cols` may exceed the tile.
namespace devit {
namespace {

constexpr std::size_t kWideDepth = 384;
constexpr std::size_t kWideTiles = 40;  // the more, the less it matters what conversion costs

inline void widen(const Half* halves, std::size_t size, float* wide) {
  for (std::size_t i = 0; i < size; i += Vec::kLanes) store(wide + i, load_half(&halves[i].bits));
}

// Dispatches on the number of rows left, at most Tile::kRows.
template <typename Tile, std::size_t rows = Tile::kRows>
inline void multiply_rows(const float* a, std::size_t a_stride, const float* weights,
                          std::size_t depth, float* sums, std::size_t cols, std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) {
      return multiply_rows<Tile, rows - 1>(a, a_stride, weights, depth, sums, cols, left);
    }
  }
  Tile::template multiply<rows>(a, a_stride, weights, depth, sums, cols);
}

// `finish(sums, rows, out, cols)` is the epilogue of one block.
template <typename Tile, typename Finish>
inline void multiply_portion_f16(const GemmF16Args& args, const Finish& finish) {
  constexpr std::size_t kBlockRows = kWideTiles * Tile::kRows;
  alignas(64) float wide[kWideDepth * Tile::kCols];
  alignas(64) float sums[kBlockRows * Tile::kCols];
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    const float* bias = reinterpret_cast<const float*>(args.panels + panel * args.panel_stride);
    const Half* weights = reinterpret_cast<const Half*>(bias + Tile::kCols);
    const std::size_t col = panel * Tile::kCols;
    for (std::size_t block = args.row_begin; block < args.row_end; block += kBlockRows) {
      const std::size_t left = args.row_end - block;
      const std::size_t rows = left < kBlockRows ? left : kBlockRows;
      for (std::size_t i = 0; i < rows * Tile::kCols; i += Vec::kLanes) {
        store(sums + i, load(bias + i % Tile::kCols));
      }
      const float* a = static_cast<const float*>(args.a) + block * args.a_stride;
      for (std::size_t k = 0; k < args.depth; k += kWideDepth) {
        const std::size_t depth = args.depth - k < kWideDepth ? args.depth - k : kWideDepth;
        widen(weights + k * Tile::kCols, depth * Tile::kCols, wide);
        for (std::size_t i = 0; i < rows; i += Tile::kRows) {
          multiply_rows<Tile>(a + i * args.a_stride + k, args.a_stride, wide, depth,
                              sums + i * Tile::kCols, args.cols - col, rows - i);
        }
      }
      finish(sums, rows, args.out + block * args.out_stride + col, args.cols - col);
    }
  }
}

}  // namespace
}  // namespace devit
