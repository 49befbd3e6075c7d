#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm_f16.h"

// Floats to scaled halves, row by row; compile with -march=armv8.2-a+fp16.
namespace devit {
namespace {

inline float16x8_t load_halves(const Half* p) { return vreinterpretq_f16_u16(vld1q_u16(&p->bits)); }

inline void store_halves(Half* p, float16x8_t x) { vst1q_u16(&p->bits, vreinterpretq_u16_f16(x)); }

// The bits of the largest magnitude. Without their signs, floats order like their bits, and NaN
// above infinity.
inline std::uint32_t largest_bits(const float* x, std::size_t depth) {
  constexpr std::uint32_t kMagnitude = 0x7fffffff;
  uint32x4_t top[4] = {};
  std::size_t k = 0;
  for (; k + 16 <= depth; k += 16) {
#pragma GCC unroll 4
    for (std::size_t n = 0; n < 4; ++n) {
      const float32x4_t magnitude = vabsq_f32(vld1q_f32(x + k + 4 * n));
      top[n] = vmaxq_u32(top[n], vreinterpretq_u32_f32(magnitude));
    }
  }
  std::uint32_t bits = vmaxvq_u32(vmaxq_u32(vmaxq_u32(top[0], top[1]), vmaxq_u32(top[2], top[3])));
  for (; k < depth; ++k) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[k]) & kMagnitude;
    bits = magnitude > bits ? magnitude : bits;
  }
  return bits;
}

// How numbers become halves: x * inverse is rounded, and scale is 1 / inverse.
struct HalfScale {
  float scale;    // 0 where all numbers are zeros, NaN where one is too large
  float inverse;  // 0 in both of these cases
};

// The power of two that brings the magnitude with `bits` to limit / 2 or more, and not above
// `limit`. A magnitude below 2^-96 counts as zero, one of 2^96 or more, or NaN, as too large.
inline HalfScale half_scale(std::uint32_t bits, float limit) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  if (bits >= __builtin_bit_cast(std::uint32_t, 0x1p96f)) return {__builtin_nanf(""), 0.0f};
  if (__builtin_bit_cast(float, bits) < 0x1p-96f) return {0.0f, 0.0f};
  const float below = __builtin_bit_cast(float, bits& kExponent);  // the magnitude < 2 below
  return {2.0f * below / limit, limit / (2.0f * below)};
}

// q[k] = x[k] * inverse to the nearest half.
inline void write_halves(const float* x, float inverse, std::size_t depth, Half* q) {
  std::size_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    const float16x4_t low = vcvt_f16_f32(vmulq_n_f32(vld1q_f32(x + k), inverse));
    const float16x8_t all = vcvt_high_f16_f32(low, vmulq_n_f32(vld1q_f32(x + k + 4), inverse));
    store_halves(q + k, all);
  }
  for (; k < depth; ++k) {
    const float16x4_t one = vcvt_f16_f32(vdupq_n_f32(x[k] * inverse));
    vst1_lane_u16(&q[k].bits, vreinterpret_u16_f16(one), 0);
  }
}

}  // namespace
}  // namespace devit
