#pragma once

#include "kernels/gemm/gemm_f32.h"
#include "kernels/gemm/outer_products_f32_inl.h"
#include "kernels/simd/math_f32_inl.h"

// Include simd_<isa>.h first, in a block of its own.
//
// A Tile says how kRows x kCols results are accumulated in registers:
//   template <std::size_t rows> static void multiply(const float* a, std::size_t a_stride,
//       const float* weights, std::size_t depth, Vec (&acc)[rows][kVecs]);
// acc holds the biases on entry. Fewer rows, at the lower edge, are other instances of the same
// template with the same order of sums; fewer columns multiply the panel's zeros.
namespace devit {
namespace {

// Each element of `a` is broadcast from memory: for instruction sets with cheap broadcast loads.
template <std::size_t kTileRows, std::size_t kTileVecs>
struct BroadcastTile {
  static constexpr std::size_t kRows = kTileRows;
  static constexpr std::size_t kVecs = kTileVecs;
  static constexpr std::size_t kCols = kVecs * Vec::kLanes;

  template <std::size_t rows>
  static inline void multiply(const float* a, std::size_t a_stride, const float* weights,
                              std::size_t depth, Vec (&acc)[rows][kVecs]) {
    add_outer_products({a, a_stride, 1}, {weights, kCols}, depth, whole_vectors, acc);
  }
};

inline Vec finish(Vec acc, Vec old, Epilogue epilogue) {
  if (epilogue == Epilogue::kGelu) return gelu(acc);
  if (epilogue == Epilogue::kResidual) return add(acc, old);
  return acc;
}

// Writes the first `count` lanes, count >= 1.
inline void store_result(float* out, Vec acc, std::size_t count, Epilogue epilogue) {
  const bool residual = epilogue == Epilogue::kResidual;
  if (count >= Vec::kLanes) {
    store(out, finish(acc, residual ? load(out) : zero(), epilogue));
  } else {
    const Vec old = residual ? load_partial(out, count) : zero();
    store_partial(out, finish(acc, old, epilogue), count);
  }
}

// Writes a tile that was in registers, its first `cols` columns; `cols` may exceed the tile.
template <typename Tile, std::size_t rows>
inline void store_tile(const Vec (&acc)[rows][Tile::kVecs], float* out, std::size_t out_stride,
                       std::size_t cols, Epilogue epilogue) {
  if (cols >= Tile::kCols && epilogue != Epilogue::kGelu) {
    const bool residual = epilogue == Epilogue::kResidual;
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < Tile::kVecs; ++j) {
        float* to = out + j * Vec::kLanes;
        store(to, residual ? add(acc[i][j], load(to)) : acc[i][j]);
      }
    }
    return;
  }
  float results[rows][Tile::kCols];  // leaves the registers, so that the epilogue can be a loop
#pragma GCC unroll 16
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
    for (std::size_t j = 0; j < Tile::kVecs; ++j) store(results[i] + j * Vec::kLanes, acc[i][j]);
  }
  if (cols >= Tile::kCols) {
    for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < Tile::kVecs; ++j) {
        store(out + j * Vec::kLanes, gelu(load(results[i] + j * Vec::kLanes)));
      }
    }
    return;
  }
  for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
    for (std::size_t j = 0; j < Tile::kCols && j < cols; j += Vec::kLanes) {
      store_result(out + j, load(results[i] + j), cols - j, epilogue);
    }
  }
}

template <typename Tile, std::size_t rows>
inline void compute_tile(const GemmF32Args& args, std::size_t row, std::size_t panel) {
  const float* packed = args.panels + panel * Tile::kCols * (args.depth + 1);
  Vec acc[rows][Tile::kVecs];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
    for (std::size_t j = 0; j < Tile::kVecs; ++j) acc[i][j] = load(packed + j * Vec::kLanes);
  }
  Tile::template multiply<rows>(args.a + row * args.a_stride, args.a_stride, packed + Tile::kCols,
                                args.depth, acc);
  const std::size_t col = panel * Tile::kCols;
  store_tile<Tile, rows>(acc, args.out + row * args.out_stride + col, args.out_stride,
                         args.cols - col, args.epilogue);
}

// Dispatches on the number of rows left, at most Tile::kRows.
template <typename Tile, std::size_t rows = Tile::kRows>
inline void compute_rows(const GemmF32Args& args, std::size_t row, std::size_t panel,
                         std::size_t left) {
  if constexpr (rows > 1) {
    if (left < rows) return compute_rows<Tile, rows - 1>(args, row, panel, left);
  }
  compute_tile<Tile, rows>(args, row, panel);
}

// One panel stays in the first-level cache while all rows of the portion pass by.
template <typename Tile>
inline void multiply_portion(const GemmF32Args& args) {
  for (std::size_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    for (std::size_t row = args.row_begin; row < args.row_end; row += Tile::kRows) {
      compute_rows<Tile>(args, row, panel, args.row_end - row);
    }
  }
}

}  // namespace
}  // namespace devit
