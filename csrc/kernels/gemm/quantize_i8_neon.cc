#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include <arm_neon.h>

#include <cstdint>

#include "kernels/gemm/gemm_i8.h"

namespace devit {
namespace {

constexpr std::uint32_t kMagnitude = 0x7fffffff;
constexpr std::uint32_t kInfinity = 0x7f800000;
constexpr float kLevels = 127.0f;
constexpr std::size_t kStep = 32;  // numbers in one go: fewer steps of the pointers

// The bits of the largest magnitude. Without their signs, floats order like their bits, and NaN
// above infinity.
inline std::uint32_t largest_bits(const float* x, std::size_t depth) {
  uint32x4_t top[4] = {};
  std::size_t k = 0;
  for (; k + kStep <= depth; k += kStep) {
#pragma GCC unroll 8
    for (std::size_t n = 0; n < kStep / 4; ++n) {
      const float32x4_t magnitude = vabsq_f32(vld1q_f32(x + k + 4 * n));
      top[n % 4] = vmaxq_u32(top[n % 4], vreinterpretq_u32_f32(magnitude));
    }
  }
  std::uint32_t bits = vmaxvq_u32(vmaxq_u32(vmaxq_u32(top[0], top[1]), vmaxq_u32(top[2], top[3])));
  for (; k < depth; ++k) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[k]) & kMagnitude;
    bits = magnitude > bits ? magnitude : bits;
  }
  return bits;
}

// Sixteen numbers.
inline int8x16_t quantize_vector(const float* x, float inverse) {
  int16x8_t words[4];
#pragma GCC unroll 4
  for (std::size_t n = 0; n < 4; ++n) {
    const float32x4_t scaled = vmulq_n_f32(vld1q_f32(x + 4 * n), inverse);
    words[n] = vreinterpretq_s16_s32(vcvtnq_s32_f32(scaled));
  }
  const int8x16_t low = vreinterpretq_s8_s16(vuzp1q_s16(words[0], words[1]));
  const int8x16_t high = vreinterpretq_s8_s16(vuzp1q_s16(words[2], words[3]));
  return vuzp1q_s8(low, high);
}

inline void quantize_row(const float* x, std::int8_t* q, float* scale, std::size_t depth,
                         std::size_t padded) {
  const std::uint32_t bits = largest_bits(x, depth);
  const float largest = __builtin_bit_cast(float, bits);
  const bool finite = bits < kInfinity;
  if (!finite || largest < 0x1p-96f) {
    *scale = finite ? 0.0f : __builtin_nanf("");
    __builtin_memset(q, 0, padded);
    return;
  }
  *scale = largest / kLevels;
  const float inverse = kLevels / largest;
  std::size_t k = 0;
  for (; k + kStep <= depth; k += kStep) {
    const int8x16_t first = quantize_vector(x + k, inverse);
    const int8x16_t second = quantize_vector(x + k + 16, inverse);
    vst1q_s8(q + k, first);
    vst1q_s8(q + k + 16, second);
  }
  for (; k < depth; ++k) q[k] = static_cast<std::int8_t>(vcvtns_s32_f32(x[k] * inverse));
  __builtin_memset(q + depth, 0, padded - depth);
}

}  // namespace

void quantize_i8_neon(const QuantizeI8Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    quantize_row(args.x + row * args.x_stride,
                 static_cast<std::int8_t*>(args.q) + row * args.q_stride, args.scale + row,
                 args.depth, args.q_stride);
  }
}

}  // namespace devit
