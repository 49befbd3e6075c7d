#pragma once

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

// exp(max(x, -87)) for x <= 0: relative error <= 2^-22 + 2^-28 |x|. NaN stays NaN.
inline Vec exp_nonpositive(Vec x) {
  const Vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it drops the fraction
  x = max(broadcast(-87.0f), x);
  const Vec shifted = fma(x, broadcast(1.44269504f), shift);
  // x = n ln 2 + r, |r| <= ln(2) / 2: ln 2 as one float32 is off by 2^-28 of its size only
  const Vec r = fma(sub(shifted, shift), broadcast(-0.693147182f), x);
  // fitted to 2^-23.1; in pairs of coefficients, so that few sums begin with a constant, which
  // costs an instruction of its own where a multiply-add overwrites its summand
  const Vec r2 = mul(r, r);
  Vec p = fma(broadcast(8.312501013e-3f), r, broadcast(4.189033061e-2f));
  p = fma(p, r2, fma(broadcast(1.666711569e-1f), r, broadcast(4.999923110e-1f)));
  p = fma(p, r2, add(r, broadcast(1.0f)));
  return scale_by_power_of_two(p, shifted);
}

// GELU(x) = max(x, 0) - t Q(t), t = min(|x|, 5.3), Q(t) the upper tail of the normal distribution;
// the error bound is in gemm_f32.h. No exponential: 1/2 - Q(t) is t times a ratio of polynomials in
// t^2 with positive coefficients, fitted on [0, 5.3] to 2^-25.6.
inline Vec gelu(Vec x) {
  const Vec t = min(broadcast(5.3f), abs(x));
  const Vec z = mul(t, t);
  const Vec z2 = mul(z, z);
  Vec p = fma(broadcast(2.7624054e-8f), z, broadcast(6.4217693e-6f));
  Vec q = fma(broadcast(1.3445659e-6f), z, broadcast(6.4204316e-5f));
  p = fma(p, z2, fma(broadcast(1.34380534e-4f), z, broadcast(4.47246851e-3f)));
  q = fma(q, z2, fma(broadcast(1.68809888e-3f), z, broadcast(2.65922714e-2f)));
  p = fma(p, z2, fma(broadcast(3.01688109e-2f), z, broadcast(3.98942202e-1f)));
  q = fma(q, z2, fma(broadcast(2.42288247e-1f), z, broadcast(1.0f)));
  const Vec minus_tail = sub(div(mul(t, p), q), broadcast(0.5f));
  return fma(t, minus_tail, max(zero(), x));
}

}  // namespace
}  // namespace devit
