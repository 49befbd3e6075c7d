#pragma once

#include <cstdint>

#include "kernels/gemm/epilogue_neon_inl.h"
#include "kernels/gemm/gemm_i8.h"

// Include simd_neon.h first, in a block of its own.
//
// A Tile says how sums of products of bytes are made; see GemmI8 for the layout of the weights:
//   static constexpr std::size_t kRows, kStep;
//   template <std::size_t rows, std::size_t vecs>
//   static void multiply(const std::int8_t* a, std::size_t a_stride, const std::int8_t* weights,
//                        std::size_t depth, int32x4_t (&sums)[rows][vecs]);
// Rows of `a` are whole cache lines filled up with zeros, `depth` is not padded, `sums` is written,
// not added to. Panels have kI8Cols columns, whatever `vecs` of them are asked for.
namespace devit {
namespace {

constexpr std::size_t kI8Vecs = 4;
constexpr std::size_t kI8Cols = 4 * kI8Vecs;

template <typename Tile, std::size_t rows, std::size_t vecs>
void compute_tile_i8(const GemmI8Args& args, std::size_t row, std::size_t panel) {
  const float* bias = reinterpret_cast<const float*>(args.panels + panel * args.panel_stride);
  const float* scale = bias + kI8Cols;
  int32x4_t sums[rows][vecs];
  Tile::multiply(static_cast<const std::int8_t*>(args.a) + row * args.a_stride, args.a_stride,
                 reinterpret_cast<const std::int8_t*>(scale + kI8Cols), args.depth, sums);
  float32x4_t y[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      const float32x4_t sum = vmulq_f32(vcvtq_f32_s32(sums[i][j]), vld1q_f32(scale + 4 * j));
      y[i][j] = vfmaq_n_f32(vld1q_f32(bias + 4 * j), sum, args.a_scale[row + i]);
    }
  }
  const std::size_t col = panel * kI8Cols;
  store_tile(y, args.out + row * args.out_stride + col, args.out_stride, args.cols - col,
             args.epilogue);
}

// Dispatches on the number of vectors that the panel's columns need, at most kI8Vecs.
template <typename Tile, std::size_t rows, std::size_t vecs = kI8Vecs>
void compute_panel_i8(const GemmI8Args& args, std::size_t row, std::size_t panel) {
  if constexpr (vecs > 1) {
    if (args.cols - panel * kI8Cols <= 4 * (vecs - 1)) {
      return compute_panel_i8<Tile, rows, vecs - 1>(args, row, panel);
    }
  }
  compute_tile_i8<Tile, rows, vecs>(args, row, panel);
}

// Dispatches on the number of rows left, at most Tile::kRows.
template <typename Tile, std::size_t rows = Tile::kRows>
void compute_rows_i8(const GemmI8Args& args, std::size_t row, std::size_t panel, std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) return compute_rows_i8<Tile, rows - 1>(args, row, panel, left);
  }
  compute_panel_i8<Tile, rows>(args, row, panel);
}

// One panel stays in the nearest cache while all rows of the portion pass by.
template <typename Tile>
inline void multiply_portion_i8(const GemmI8Args& args) {
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::size_t row = args.row_begin; row < args.row_end; row += Tile::kRows) {
      compute_rows_i8<Tile>(args, row, panel, args.row_end - row);
    }
  }
}

}  // namespace
}  // namespace devit
