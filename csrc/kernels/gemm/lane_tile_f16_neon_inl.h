#pragma once

#include <arm_neon.h>

// Products of halves for tiles in registers; compile with -march=armv8.2-a+fp16.
namespace devit {
namespace {

// acc + y * x[lane]. vfmaq_laneq_f16() costs a second instruction with GCC, which takes the lane
// out first; the factor with a lane must be in one of the first 16 registers.
template <int lane>
inline float16x8_t multiply_add(float16x8_t acc, float16x8_t y, float16x8_t x) {
  asm("fmla %0.8h, %1.8h, %2.h[%3]" : "+w"(acc) : "w"(y), "x"(x), "i"(lane));
  return acc;
}

}  // namespace
}  // namespace devit
