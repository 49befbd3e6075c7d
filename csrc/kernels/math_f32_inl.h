#pragma once

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

// exp(x) for x <= 0: relative error <= 2^-22 down to x = -87, and 0 below. NaN stays NaN.
inline Vec exp_nonpositive(Vec x) {
  const Vec n = round(mul(x, broadcast(1.44269504f)));
  Vec r = fma(n, broadcast(-0.693359375f), x);  // x - n ln 2, ln 2 in two parts
  r = fma(n, broadcast(2.12194440e-4f), r);
  Vec p = broadcast(1.9875691500e-4f);  // Cephes expf: |r| <= ln(2) / 2
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  p = add(fma(p, mul(r, r), r), broadcast(1.0f));
  return zero_where_less(scale_by_power_of_two(p, n), x, broadcast(-87.0f));
}

// GELU(x) = max(x, 0) - |x| Q(|x|), Q the upper tail of the normal distribution: nothing cancels,
// so the error stays relative even where GELU(x) is tiny (the bound is in gemm_f32.h).
inline Vec gelu(Vec x) {
  const Vec t = abs(x);
  // Q(t) exp(t^2 / 2) = u P(u), u = 1 / (1 + 0.35 t): fitted on t in [0, 13.3] to 2^-24.9.
  const Vec u = div(broadcast(1.0f), fma(t, broadcast(0.35f), broadcast(1.0f)));
  Vec p = broadcast(-2.911512885e-2f);
  p = fma(p, u, broadcast(1.438189546e-1f));
  p = fma(p, u, broadcast(-2.553920910e-1f));
  p = fma(p, u, broadcast(1.587977515e-1f));
  p = fma(p, u, broadcast(-2.284420813e-2f));
  p = fma(p, u, broadcast(1.053924602e-1f));
  p = fma(p, u, broadcast(1.198630145e-1f));
  p = fma(p, u, broadcast(1.398575715e-1f));
  p = fma(p, u, broadcast(1.396216598e-1f));
  const Vec tail = mul(mul(p, u), exp_nonpositive(mul(mul(t, t), broadcast(-0.5f))));
  return sub(max(x, zero()), mul(t, tail));
}

}  // namespace
}  // namespace devit
