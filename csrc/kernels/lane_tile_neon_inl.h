#pragma once

#include <arm_neon.h>

#include <cstddef>

namespace devit {
namespace {

// A tile of a matrix product in registers, for an instruction set whose multiply-add takes one
// factor from a lane of a vector.
//
//   acc[i][j] += sum_k a[i][k] * b[k][j]      i < rows, j < 4 vecs, each sum in the order of k
//
// Shapes    a: (rows, depth), rows `a_stride` floats apart; b: (depth, 4 vecs), rows `b_stride`
//           floats apart. Nothing outside the shapes is read.
//
// With 5 x 4 vectors, 20 multiply-adds need 3 loads and leave 3 of 32 registers free: 8 x 2 and
// 7 x 3 vectors need more loads, and 6 x 4 leaves no registers for a and b.
inline constexpr std::size_t kTileRows = 5;
inline constexpr std::size_t kTileVecs = 4;
inline constexpr std::size_t kTileCols = 4 * kTileVecs;

template <int lane, std::size_t rows, std::size_t vecs>
inline void multiply_lane(const float32x4_t (&x)[rows], const float* b,
                          float32x4_t (&acc)[rows][vecs]) {
  float32x4_t y[vecs];
#pragma GCC unroll 8
  for (std::size_t j = 0; j < vecs; ++j) y[j] = vld1q_f32(b + 4 * j);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < vecs; ++j) {
      acc[i][j] = vfmaq_laneq_f32(acc[i][j], y[j], x[i], lane);
    }
  }
}

template <std::size_t rows, std::size_t vecs>
inline void multiply_tile(const float* a, std::size_t a_stride, const float* b,
                          std::size_t b_stride, std::size_t depth, float32x4_t (&acc)[rows][vecs]) {
  float32x4_t x[rows];
  std::size_t k = 0;
  for (; k + 4 <= depth; k += 4, b += 4 * b_stride) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_f32(a + i * a_stride + k);
    multiply_lane<0>(x, b, acc);
    multiply_lane<1>(x, b + b_stride, acc);
    multiply_lane<2>(x, b + 2 * b_stride, acc);
    multiply_lane<3>(x, b + 3 * b_stride, acc);
  }
  for (; k < depth; ++k, b += b_stride) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) x[i] = vld1q_dup_f32(a + i * a_stride + k);
    multiply_lane<0>(x, b, acc);
  }
}

}  // namespace
}  // namespace devit
