#if !defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#error "compile this file with -march=armv8.2-a+fp16"
#endif

#include <arm_neon.h>

#include "kernels/gemm/gemm_f16.h"

namespace devit {
namespace {

constexpr std::uint32_t kExponent = 0x7f800000;

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

inline void round_row(const float* x, Half* q, float* scale, std::size_t depth, float limit) {
  const std::uint32_t bits = largest_bits(x, depth);
  const bool fits = bits < __builtin_bit_cast(std::uint32_t, 0x1p96f);
  if (!fits || __builtin_bit_cast(float, bits) < 0x1p-96f) {
    *scale = fits ? 0.0f : __builtin_nanf("");
    __builtin_memset(q, 0, depth * sizeof(Half));
    return;
  }
  const float below = __builtin_bit_cast(float, bits& kExponent);  // largest < 2 below
  *scale = 2.0f * below / limit;
  const float inverse = limit / (2.0f * below);
  std::size_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    const float16x4_t low = vcvt_f16_f32(vmulq_n_f32(vld1q_f32(x + k), inverse));
    const float16x8_t all = vcvt_high_f16_f32(low, vmulq_n_f32(vld1q_f32(x + k + 4), inverse));
    vst1q_u16(&q[k].bits, vreinterpretq_u16_f16(all));
  }
  for (; k < depth; ++k) {
    const float16x4_t one = vcvt_f16_f32(vdupq_n_f32(x[k] * inverse));
    vst1_lane_u16(&q[k].bits, vreinterpret_u16_f16(one), 0);
  }
}

}  // namespace

void round_f16_neon_fp16(const RoundF16Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    round_row(args.x + row * args.x_stride, args.q + row * args.q_stride, args.scale + row,
              args.depth, args.limit);
  }
}

}  // namespace devit
