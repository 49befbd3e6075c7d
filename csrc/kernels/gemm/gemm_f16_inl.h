#pragma once

#include "kernels/gemm/gemm_f16.h"

// Include simd_<isa>.h first, in a block of its own.
//
// Linear layers on halves in float32. Some rows of a panel become floats, in a buffer that the
// nearest cache holds, and are multiplied with a block of activations. Sums wait for the next rows
// as they are, so the result is the one without blocks.
//
// A Tile says how sums grow, in the order of gemm_f32 of the same row of the registry:
//   static constexpr std::size_t kRows, kCols;
//   template <std::size_t rows> static void multiply(const WideStep& step, const float* a,
//       std::size_t a_stride, float* sums, float* out, std::size_t out_stride, std::size_t cols,
//       Epilogue epilogue);
// It starts from the biases, or from sums (rows, kCols), and ends there, or with the epilogue in
// the first `cols` columns of out; `cols` may exceed the tile.
namespace devit {
namespace {

constexpr std::size_t kWideDepth = 384;
constexpr std::size_t kWideTiles = 40;  // the more, the less it matters what conversion costs

// Some rows of a panel: weights (depth, kCols), and where they stand in it.
struct WideStep {
  const float* weights;
  std::size_t depth;
  const float* bias;  // added to the first rows; null for all others
  bool last;
};

inline void widen(const Half* halves, std::size_t size, float* wide) {
  for (std::size_t i = 0; i < size; i += Vec::kLanes) store(wide + i, load_half(&halves[i].bits));
}

// Dispatches on the number of rows left, at most Tile::kRows.
template <typename Tile, std::size_t rows = Tile::kRows>
inline void multiply_rows(const WideStep& step, std::size_t left, const float* a,
                          std::size_t a_stride, float* sums, float* out, std::size_t out_stride,
                          std::size_t cols, Epilogue epilogue) {
  if constexpr (rows > 1) {
    if (left < rows) {
      return multiply_rows<Tile, rows - 1>(step, left, a, a_stride, sums, out, out_stride, cols,
                                           epilogue);
    }
  }
  Tile::template multiply<rows>(step, a, a_stride, sums, out, out_stride, cols, epilogue);
}

template <typename Tile>
inline void multiply_portion_f16(const GemmF16Args& args) {
  constexpr std::size_t kBlockRows = kWideTiles * Tile::kRows;
  alignas(64) float wide[kWideDepth * Tile::kCols];
  alignas(64) float sums[kBlockRows * Tile::kCols];
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    const float* bias = reinterpret_cast<const float*>(args.panels + panel * args.panel_stride);
    const Half* weights = reinterpret_cast<const Half*>(bias + Tile::kCols);
    const std::size_t col = panel * Tile::kCols;
    for (std::size_t block = args.row_begin; block < args.row_end; block += kBlockRows) {
      const std::size_t end = args.row_end - block < kBlockRows ? args.row_end : block + kBlockRows;
      for (std::size_t k = 0; k < args.depth; k += kWideDepth) {
        const std::size_t left = args.depth - k;
        const WideStep step{.weights = wide,
                            .depth = left < kWideDepth ? left : kWideDepth,
                            .bias = k == 0 ? bias : nullptr,
                            .last = left <= kWideDepth};
        widen(weights + k * Tile::kCols, step.depth * Tile::kCols, wide);
        for (std::size_t row = block; row < end; row += Tile::kRows) {
          multiply_rows<Tile>(step, end - row,
                              static_cast<const float*>(args.a) + row * args.a_stride + k,
                              args.a_stride, sums + (row - block) * Tile::kCols,
                              args.out + row * args.out_stride + col, args.out_stride,
                              args.cols - col, args.epilogue);
        }
      }
    }
  }
}

}  // namespace
}  // namespace devit
