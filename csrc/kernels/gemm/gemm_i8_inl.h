#pragma once

#include "kernels/gemm/gemm_f32_inl.h"
#include "kernels/gemm/gemm_i8.h"

// Include simd_<isa>.h first, in a block of its own.
//
// A Tile says how kRows x kCols sums of products are made, and from what (see GemmI8):
//   using Activation = std::int8_t or std::int16_t; using Weight = std::int8_t or std::int16_t;
//   Tile(const Weight* weights, std::size_t depth), once for a panel
//   template <std::size_t rows> void multiply(const Activation* a, std::size_t a_stride,
//       const Weight* weights, std::size_t depth, std::int32_t (&sums)[rows][kCols]) const;
// `a_stride` counts activations, `depth` is not padded, `sums` is written, not added to.
namespace devit {
namespace {

template <typename Tile, std::size_t rows>
inline void compute_tile_i8(const GemmI8Args& args, const Tile& tile, const float* panel,
                            std::size_t row, std::size_t col) {
  using Activation = typename Tile::Activation;
  const float* bias = panel;
  const float* scale = panel + Tile::kCols;
  const std::size_t a_stride = args.a_stride / sizeof(Activation);
  std::int32_t sums[rows][Tile::kCols];
  tile.template multiply<rows>(static_cast<const Activation*>(args.a) + row * a_stride, a_stride,
                               reinterpret_cast<const typename Tile::Weight*>(scale + Tile::kCols),
                               args.depth, sums);

  const std::size_t cols = args.cols - col;  // may exceed the tile
  for (std::size_t i = 0; i < rows; ++i) {
    const Vec row_scale = broadcast(args.a_scale[row + i]);
    float* out = args.out + (row + i) * args.out_stride + col;
    for (std::size_t j = 0; j < Tile::kCols && j < cols; j += Vec::kLanes) {
      const Vec sum = mul(load_int32(sums[i] + j), load(scale + j));
      store_result(out + j, fma(sum, row_scale, load(bias + j)), cols - j, args.epilogue);
    }
  }
}

// Dispatches on the number of rows left, at most Tile::kRows.
template <typename Tile, std::size_t rows = Tile::kRows>
inline void compute_rows_i8(const GemmI8Args& args, const Tile& tile, const float* panel,
                            std::size_t row, std::size_t col, std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) return compute_rows_i8<Tile, rows - 1>(args, tile, panel, row, col, left);
  }
  compute_tile_i8<Tile, rows>(args, tile, panel, row, col);
}

// One panel stays in the first-level cache while all rows of the portion pass by.
template <typename Tile>
inline void multiply_portion_i8(const GemmI8Args& args) {
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    const float* packed = reinterpret_cast<const float*>(args.panels + panel * args.panel_stride);
    const float* weights = packed + 2 * Tile::kCols;
    const Tile tile(reinterpret_cast<const typename Tile::Weight*>(weights), args.depth);
    for (std::size_t row = args.row_begin; row < args.row_end; row += Tile::kRows) {
      compute_rows_i8<Tile>(args, tile, packed, row, panel * Tile::kCols, args.row_end - row);
    }
  }
}

}  // namespace
}  // namespace devit
