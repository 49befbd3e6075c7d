#pragma once

#include <arm_neon.h>

#include <cstddef>

// Tiles of a matrix product in registers, for an instruction set whose multiply-add takes one
// factor from a lane of a vector. Each sum is in the order of k. Nothing outside the shapes is
// read.
namespace devit {
namespace {

// The tile of float32 linear layers: 20 sums, 10 vectors of a and 2 of b are all 32 registers. No
// other tile that fits multiply_tile() has fewer loads.
inline constexpr std::size_t kTileRows = 5;
inline constexpr std::size_t kTileVecs = 4;
inline constexpr std::size_t kTileCols = 4 * kTileVecs;

// acc += y * x[lane]. With the intrinsic GCC makes the lane a vector of its own, folds it into the
// instruction later, and by then has moved sums about for want of registers.
template <int lane>
inline void add_product(float32x4_t& acc, float32x4_t y, float32x4_t x) {
  asm("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(acc) : "w"(y), "w"(x), "i"(lane));
}

// acc[i][j] += sum_k x[i][k] * b[k][j] for k < 4, from vector `first` of b on: two of its vectors
// at a time, as one instruction loads them where they are neighbours.
template <std::size_t first = 0, std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_lanes(const float32x4_t (&x)[rows], const float* b,
                                                  std::size_t b_stride,
                                                  float32x4_t (&acc)[rows][vecs]) {
  constexpr std::size_t kNext = first + 1;
  const float32x4_t y0 = vld1q_f32(b + first / vecs * b_stride + first % vecs * 4);
  const float32x4_t y1 = vld1q_f32(b + kNext / vecs * b_stride + kNext % vecs * 4);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
    add_product<first / vecs>(acc[i][first % vecs], y0, x[i]);
    add_product<kNext / vecs>(acc[i][kNext % vecs], y1, x[i]);
  }
  if constexpr (first + 2 < 4 * vecs) multiply_lanes<first + 2>(x, b, b_stride, acc);
}

// acc[i][j] += sum_k a[i][k] * b[k][j]      i < rows, j < 4 vecs
//
// Shapes    a: (rows, depth), rows `a_stride` floats apart; b: (depth, 4 vecs), rows `b_stride`
//           floats apart
//
// Eight numbers of a row and two vectors of b are there at a time: rows (vecs + 2) + 2 registers,
// and rows + 4 vecs loads of two vectors for 8 rows vecs multiply-adds.
template <std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_tile(const float* a, std::size_t a_stride,
                                                 const float* b, std::size_t b_stride,
                                                 std::size_t depth,
                                                 float32x4_t (&acc)[rows][vecs]) {
  static_assert(rows * (vecs + 2) + 2 <= 32);
  constexpr std::size_t kStep = 16;  // the pointers move once
  std::size_t k = 0;
  for (; k + kStep <= depth; k += kStep) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < kStep; n += 8, b += 8 * b_stride) {
      float32x4_t low[rows], high[rows];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) {
        low[i] = vld1q_f32(a + i * a_stride + k + n);
        high[i] = vld1q_f32(a + i * a_stride + k + n + 4);
      }
      multiply_lanes(low, b, b_stride, acc);
      multiply_lanes(high, b + 4 * b_stride, b_stride, acc);
    }
  }
  float32x4_t x[rows];
  for (; k + 4 <= depth; k += 4, b += 4 * b_stride) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_f32(a + i * a_stride + k);
    multiply_lanes(x, b, b_stride, acc);
  }
  for (; k < depth; ++k, b += b_stride) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_dup_f32(a + i * a_stride + k);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      const float32x4_t y = vld1q_f32(b + 4 * j);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) acc[i][j] = vfmaq_f32(acc[i][j], y, x[i]);
    }
  }
}

// One k of multiply_columns().
template <std::size_t a_vecs, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_column(const float* a, const float* b,
                                                   float32x4_t (&acc)[4 * a_vecs][vecs]) {
  float32x4_t x[a_vecs], y[vecs];
#pragma GCC unroll 8
  for (std::size_t m = 0; m < a_vecs; ++m) x[m] = vld1q_f32(a + 4 * m);
#pragma GCC unroll 8
  for (std::size_t j = 0; j < vecs; ++j) y[j] = vld1q_f32(b + 4 * j);
#pragma GCC unroll 8
  for (std::size_t m = 0; m < a_vecs; ++m) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      add_product<0>(acc[4 * m][j], y[j], x[m]);
      add_product<1>(acc[4 * m + 1][j], y[j], x[m]);
      add_product<2>(acc[4 * m + 2][j], y[j], x[m]);
      add_product<3>(acc[4 * m + 3][j], y[j], x[m]);
    }
  }
}

// acc[4 m + i][j] += sum_k a[k][4 m + i] * b[k][j]      m < a_vecs, i < 4, j < 4 vecs
//
// Shapes    a: (depth, 4 a_vecs), dense; b: (depth, 4 vecs), rows `b_stride` floats apart
template <std::size_t a_vecs, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_columns(const float* a, const float* b,
                                                    std::size_t b_stride, std::size_t depth,
                                                    float32x4_t (&acc)[4 * a_vecs][vecs]) {
  constexpr std::size_t kStep = 4;
  std::size_t k = 0;
  for (; k + kStep <= depth; k += kStep, a += kStep * 4 * a_vecs) {
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kStep; ++n, b += b_stride) {
      multiply_column<a_vecs, vecs>(a + n * 4 * a_vecs, b, acc);
    }
  }
  for (; k < depth; ++k, a += 4 * a_vecs, b += b_stride) multiply_column<a_vecs, vecs>(a, b, acc);
}

}  // namespace
}  // namespace devit
