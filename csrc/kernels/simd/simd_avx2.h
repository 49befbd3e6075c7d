#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// The vectors of one instruction set. simd_<isa>.h all define the same functions.
//
// They, and the *_inl.h files on top of them, live in anonymous namespaces and call nothing of the
// standard library: a shared inline function compiled here with AVX2 could be the copy that the
// linker keeps for everybody.
namespace devit {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 8;
  __m256 v;
};

// The first n lanes, n < kLanes.
inline __m256i lanes_below(std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

inline Vec zero() { return {_mm256_setzero_ps()}; }
inline Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
// Whole numbers as floats.
inline Vec load_int32(const std::int32_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

// The bits of halves as floats.
inline Vec load_half(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}

// The first n < kLanes floats at p, then zeros; no other address is touched.
inline Vec load_partial(const float* p, std::size_t n) {
  return {_mm256_maskload_ps(p, lanes_below(n))};
}
inline void store_partial(float* p, Vec a, std::size_t n) {
  _mm256_maskstore_ps(p, lanes_below(n), a.v);
}

inline Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
// b if either is NaN.
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }

// a * b + c
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

inline float sum(Vec a) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// a * 2^n for a normal result; `shifted` is n + 1.5 * 2^23, whose last bits are those of n.
inline Vec scale_by_power_of_two(Vec a, Vec shifted) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), exponent))};
}

}  // namespace
}  // namespace devit
