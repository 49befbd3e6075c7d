#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/gemm_f32.h"
#include "kernels/lane_tile_neon.h"
#include "kernels/math_f32_inl.h"

namespace devit {
namespace {

// The whole tile, from registers.
template <std::size_t rows, std::size_t vecs>
inline void store_tile(const float32x4_t (&acc)[rows][vecs], float* out, std::size_t out_stride,
                       bool residual) {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
    float32x4_t old[vecs];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      old[j] = residual ? vld1q_f32(out + 4 * j) : vdupq_n_f32(0.0f);
    }
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      vst1q_f32(out + 4 * j, residual ? vaddq_f32(acc[i][j], old[j]) : acc[i][j]);
    }
  }
}

// Sums that left the registers, so that the epilogue can be a loop: `rows` rows of `width` of them,
// whole vectors, of which `out` takes the first `cols` columns.
[[gnu::noinline]] void store_sums(float* sums, std::size_t rows, std::size_t width, float* out,
                                  std::size_t out_stride, std::size_t cols, Epilogue epilogue) {
  if (epilogue == Epilogue::kGelu) {
    for (float* p = sums; p != sums + rows * width; p += Vec::kLanes) store(p, gelu(load(p)));
  }
  const bool residual = epilogue == Epilogue::kResidual;
  for (std::size_t i = 0; i < rows; ++i, out += out_stride, sums += width) {
    std::size_t j = 0;
    for (; j + Vec::kLanes <= width && j + Vec::kLanes <= cols; j += Vec::kLanes) {
      store(out + j, residual ? add(load(sums + j), load(out + j)) : load(sums + j));
    }
    if (j == width) continue;
    const Vec y = load(sums + j);
    const std::size_t rest = cols - j;
    store_partial(out + j, residual ? add(y, load_partial(out + j, rest)) : y, rest);
  }
}

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
  const std::size_t cols = args.cols - col;  // may exceed the tile
  float* out = args.out + row * args.out_stride + col;
  if (cols >= 4 * vecs && args.epilogue != Epilogue::kGelu) {
    store_tile(acc, out, args.out_stride, args.epilogue == Epilogue::kResidual);
    return;
  }
  float sums[rows][4 * vecs];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(sums[i] + 4 * j, acc[i][j]);
  }
  store_sums(sums[0], rows, 4 * vecs, out, args.out_stride, cols, args.epilogue);
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
