#pragma once

#include <cstddef>
#include <cstdint>

// A "vector" of one float, for the portable kernels. Same functions as simd_avx2.h, which says what
// they do and why they are in an anonymous namespace.
namespace devit {
namespace {

struct Vec {
  static constexpr std::size_t kLanes = 1;
  float v;
};

inline Vec zero() { return {0.0f}; }
inline Vec broadcast(float x) { return {x}; }
inline Vec load(const float* p) { return {*p}; }
inline Vec load_partial(const float*, std::size_t) { return {0.0f}; }
inline void store(float* p, Vec a) { *p = a.v; }
inline Vec load_int32(const std::int32_t* p) { return {static_cast<float>(*p)}; }

// For a finite half. Without a branch, so that the compiler uses what vectors there are.
inline Vec load_half(const std::uint16_t* p) {
  const std::uint32_t bits = *p;
  const std::uint32_t sign = (bits & 0x8000) << 16;
  constexpr std::uint32_t kRebias = (127 - 15) << 23;
  const std::uint32_t normal = ((bits & 0x7fff) << 13) + kRebias;
  const float small = static_cast<float>(static_cast<std::int32_t>(bits & 0x3ff)) * 0x1p-24f;
  const std::uint32_t subnormal = __builtin_bit_cast(std::uint32_t, small);
  return {__builtin_bit_cast(float, sign | ((bits & 0x7c00) != 0 ? normal : subnormal))};
}
inline void store_partial(float*, Vec, std::size_t) {}

inline Vec add(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec sub(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec mul(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec div(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec abs(Vec a) { return {__builtin_fabsf(a.v)}; }
inline Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
inline Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }

inline Vec fma(Vec a, Vec b, Vec c) {
#if defined(__FP_FAST_FMAF)
  return {__builtin_fmaf(a.v, b.v, c.v)};
#else
  return {a.v * b.v + c.v};  // without the instruction, fmaf() is a slow library call
#endif
}

inline float sum(Vec a) { return a.v; }

inline Vec scale_by_power_of_two(Vec a, Vec shifted) {
  const std::uint32_t exponent = __builtin_bit_cast(std::uint32_t, shifted.v) << 23;
  return {__builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, a.v) + exponent)};
}

}  // namespace
}  // namespace devit
