#pragma once

// vpdpbusd on 256 bits as Intel's manual defines it (Instruction Set Reference, VPDPBUSD), in plain
// integers, in place of the intrinsic of AVX-VNNI: for CPUs without it.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace {

inline __m256i model_vpdpbusd(__m256i sums, __m256i unsigned_bytes, __m256i signed_bytes) {
  std::uint32_t sum[8];
  std::uint8_t a[32];
  std::int8_t b[32];
  __builtin_memcpy(sum, &sums, sizeof(sum));
  __builtin_memcpy(a, &unsigned_bytes, sizeof(a));
  __builtin_memcpy(b, &signed_bytes, sizeof(b));
  for (std::size_t i = 0; i < 32; ++i) {
    sum[i / 4] += static_cast<std::uint32_t>(std::int32_t{a[i]} * std::int32_t{b[i]});
  }
  __m256i out;
  __builtin_memcpy(&out, sum, sizeof(sum));
  return out;
}

}  // namespace

#define _mm256_dpbusd_avx_epi32 model_vpdpbusd
