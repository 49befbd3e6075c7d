#pragma once

#include <cstdint>

#include "kernels/gemm/gemm_i8_inl.h"
#include "kernels/gemm/quantize_i8_inl.h"

// Include simd_<isa>.h first, in a block of its own.
//
// vpdpbusd multiplies four unsigned bytes with four signed ones and adds the products to an int32,
// modulo 2^32 and without saturating in between. Activations are the unsigned factor: 128 more than
// they mean. What that adds to a column, 128 times the sum of its weights, is taken off where sums
// begin (see panel_i8()). The result fits, so that it is exact.
//
// A Dot says how wide the instruction is:
//   using Sums = a vector of kLanes int32;
//   static Sums load(const void* p), broadcast(const void* p), from four bytes;
//   static Sums add(Sums sums, Sums unsigned_bytes, Sums signed_bytes);
//   static void store(void* p, Sums sums);
namespace devit {
namespace {

constexpr int kVnniOffset = 128;

template <typename Dot, std::size_t kTileRows, std::size_t kVecs>
struct VnniTile {
  using Activation = std::uint8_t;
  using Weight = std::int8_t;
  static constexpr std::size_t kRows = kTileRows;
  static constexpr std::size_t kCols = kVecs * Dot::kLanes;
  static constexpr std::size_t kStep = 4;

  VnniTile(const Weight*, std::size_t) {}

  // `weights` begins with what sums begin with.
  template <std::size_t rows>
  inline void multiply(const Activation* a, std::size_t a_stride, const Weight* weights,
                       std::size_t depth, std::int32_t (&sums)[rows][kCols]) const {
    constexpr std::size_t kVector = kStep * Dot::kLanes;  // bytes
    typename Dot::Sums acc[rows][kVecs];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) acc[i][j] = Dot::load(weights + j * kVector);
    }
    weights += kStep * kCols;
    for (std::size_t k = 0; k < depth; k += kStep, weights += kStep * kCols) {
      typename Dot::Sums w[kVecs];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) w[j] = Dot::load(weights + j * kVector);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < rows; ++i) {
        const typename Dot::Sums x = Dot::broadcast(a + i * a_stride + k);
#pragma GCC unroll 16
        for (std::size_t j = 0; j < kVecs; ++j) acc[i][j] = Dot::add(acc[i][j], x, w[j]);
      }
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) Dot::store(sums[i] + j * Dot::kLanes, acc[i][j]);
    }
  }
};

}  // namespace
}  // namespace devit
