#pragma once

#include <cstdint>

#include "kernels/gemm/gemm_i8.h"

// Plain loops that compilers turn into vectors of any instruction set: include this in a file with
// its flags.
namespace devit {
namespace {

template <typename Element>
constexpr std::size_t quantization_levels(std::size_t depth) {
  if (sizeof(Element) == 1) return 127;
  constexpr std::size_t kMost = 32767 - 128;
  // The depth is at least 1: shape.cc refuses layers without inputs.
  const std::size_t safe = 0x7fffffff / (128 * depth);  // NOLINT(clang-analyzer-core.DivideZero)
  return safe < kMost ? safe : kMost;
}

template <typename Element, int offset>
inline void quantize_row(const float* x, Element* q, float* scale, std::size_t depth,
                         std::size_t padded) {
  // Without its sign, a float's bits order like the float, and NaN above infinity.
  constexpr std::uint32_t kInfinity = 0x7f800000;
  std::uint32_t bits = 0;
  for (std::size_t k = 0; k < depth; ++k) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[k]) & 0x7fffffff;
    bits = magnitude > bits ? magnitude : bits;
  }
  const float largest = __builtin_bit_cast(float, bits);
  const bool finite = bits < kInfinity;
  const bool zeros = !finite || largest < 0x1p-96f;
  const float levels = static_cast<float>(quantization_levels<Element>(depth));
  *scale = !finite ? __builtin_nanf("") : zeros ? 0.0f : largest / levels;
  if (zeros) {
    for (std::size_t k = 0; k < depth; ++k) q[k] = static_cast<Element>(offset);
    for (std::size_t k = depth; k < padded; ++k) q[k] = 0;
    return;
  }
  const float inverse = levels / largest;
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  for (std::size_t k = 0; k < depth; ++k) {
    const float rounded = (x[k] * inverse + kShift) - kShift;
    q[k] = static_cast<Element>(static_cast<std::int32_t>(rounded) + offset);
  }
  for (std::size_t k = depth; k < padded; ++k) q[k] = 0;
}

template <typename Element, int offset = 0>
inline void quantize_rows(const QuantizeI8Args& args) {
  const std::size_t stride = args.q_stride / sizeof(Element);
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    quantize_row<Element, offset>(args.x + row * args.x_stride,
                                  static_cast<Element*>(args.q) + row * stride, args.scale + row,
                                  args.depth, stride);
  }
}

}  // namespace
}  // namespace devit
