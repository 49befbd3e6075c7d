#pragma once

#include <arm_neon.h>

#include <cstddef>

// Tiles of a matrix product in registers, for an instruction set whose multiply-add takes one
// factor from a lane of a vector. Each sum is in the order of k. Nothing outside the shapes is
// read.
namespace devit {
namespace {

// The tile of float32 linear layers, as wide as a cache line: 20 sums, 8 vectors of a and 4 of b
// are all 32 registers.
inline constexpr std::size_t kTileRows = 5;
inline constexpr std::size_t kTileVecs = 4;
inline constexpr std::size_t kTileCols = 4 * kTileVecs;

// acc += y * x[lane]. With the intrinsic GCC makes the lane a vector of its own, folds it into the
// instruction later, and by then has moved sums about for want of registers.
template <int lane>
inline void add_product(float32x4_t& acc, float32x4_t y, float32x4_t x) {
  asm("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(acc) : "w"(y), "w"(x), "i"(lane));
}

// Adds the products with two neighbouring vectors of b, `first` and the next one, to acc.
template <std::size_t first, std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void add_pair(const float32x4_t (&x)[rows], float32x4_t y0,
                                            float32x4_t y1, float32x4_t (&acc)[rows][vecs]) {
  constexpr std::size_t kNext = first + 1;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
    add_product<first / vecs>(acc[i][first % vecs], y0, x[i]);
    add_product<kNext / vecs>(acc[i][kNext % vecs], y1, x[i]);
  }
}

// acc[i][j] += sum_k x[i][k] * b[k][j] for k < 4, from vector `first` of b on: one instruction
// loads two of its vectors where they are neighbours. A core that starts instructions in order
// waits for loads once in four vectors.
template <std::size_t first = 0, std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_lanes(const float32x4_t (&x)[rows], const float* b,
                                                  std::size_t b_stride,
                                                  float32x4_t (&acc)[rows][vecs]) {
  float32x4_t y[4];
#pragma GCC unroll 4
  for (std::size_t n = 0; n < 4; ++n) {
    y[n] = vld1q_f32(b + (first + n) / vecs * b_stride + (first + n) % vecs * 4);
  }
  add_pair<first>(x, y[0], y[1], acc);
  add_pair<first + 2>(x, y[2], y[3], acc);
  if constexpr (first + 4 < 4 * vecs) multiply_lanes<first + 4>(x, b, b_stride, acc);
}

// acc[i][j] += sum_k a[i][k] * b[k][j]      i < rows, j < 4 vecs
//
// Shapes    a: (rows, depth), rows `a_stride` floats apart; b: (depth, 4 vecs), rows `b_stride`
//           floats apart
//
// Four vectors of b and four numbers of each row of a are there at a time; of the first rows, as
// many as there are registers for, eight, which one instruction loads.
template <std::size_t rows, std::size_t vecs>
[[gnu::always_inline]] inline void multiply_tile(const float* a, std::size_t a_stride,
                                                 const float* b, std::size_t b_stride,
                                                 std::size_t depth,
                                                 float32x4_t (&acc)[rows][vecs]) {
  static_assert(rows * (vecs + 1) + 4 <= 32);
  constexpr std::size_t kFree = 32 - rows * (vecs + 1) - 4;
  constexpr std::size_t kEights = kFree < rows ? kFree : rows;
  constexpr std::size_t kStep = 16;  // the pointers move once
  float32x4_t x[rows];
  std::size_t k = 0;
  for (; k + kStep <= depth; k += kStep) {
#pragma GCC unroll 2
    for (std::size_t n = 0; n < kStep; n += 8, b += 8 * b_stride) {
      float32x4_t next[rows];
#pragma GCC unroll 8
      for (std::size_t i = 0; i < rows; ++i) {
        x[i] = vld1q_f32(a + i * a_stride + k + n);
        if (i < kEights) next[i] = vld1q_f32(a + i * a_stride + k + n + 4);
      }
      multiply_lanes(x, b, b_stride, acc);
#pragma GCC unroll 8
      for (std::size_t i = kEights; i < rows; ++i)
        next[i] = vld1q_f32(a + i * a_stride + k + n + 4);
      multiply_lanes(next, b + 4 * b_stride, b_stride, acc);
    }
  }
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
