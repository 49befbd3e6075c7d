#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/gemm/epilogue_neon_inl.h"
#include "kernels/gemm/gemm_f32.h"
#include "kernels/gemm/lane_tile_neon_inl.h"

namespace devit {
namespace {

template <std::size_t rows, std::size_t vecs>
void compute_tile(const GemmF32Args& args, std::size_t row, std::size_t panel) {
  const float* bias = args.panels + panel * kTileCols * (args.depth + 1);
  float32x4_t acc[rows][vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) acc[i][j] = vld1q_f32(bias + 4 * j);
  }
  multiply_tile(args.a + row * args.a_stride, args.a_stride, bias + kTileCols, kTileCols,
                args.depth, acc);

  const std::size_t col = panel * kTileCols;
  store_tile(acc, args.out + row * args.out_stride + col, args.out_stride, args.cols - col,
             args.epilogue);
}

// Dispatches on the number of vectors that the panel's columns need, at most kTileVecs.
template <std::size_t rows, std::size_t vecs = kTileVecs>
void compute_panel(const GemmF32Args& args, std::size_t row, std::size_t panel) {
  if constexpr (vecs > 1) {
    if (args.cols - panel * kTileCols <= 4 * (vecs - 1)) {
      return compute_panel<rows, vecs - 1>(args, row, panel);
    }
  }
  compute_tile<rows, vecs>(args, row, panel);
}

// Dispatches on the number of rows left, at most kTileRows.
template <std::size_t rows = kTileRows>
void compute_rows(const GemmF32Args& args, std::size_t row, std::size_t panel, std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) return compute_rows<rows - 1>(args, row, panel, left);
  }
  compute_panel<rows>(args, row, panel);
}

}  // namespace

// One panel stays in the nearest cache while all rows of the portion pass by.
void gemm_f32_5x16_neon(const GemmF32Args& args) {
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::size_t row = args.row_begin; row < args.row_end; row += kTileRows) {
      compute_rows(args, row, panel, args.row_end - row);
    }
  }
}

}  // namespace devit
