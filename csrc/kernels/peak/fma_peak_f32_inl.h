#pragma once

#include "kernels/peak/fma_peak_f32.h"

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

inline double multiply_add_chains(std::size_t rounds, float* sink) {
  constexpr std::size_t kChains = 12;  // more than latency x pipes of any CPU we target
  const Vec x = broadcast(0.5f);
  Vec acc[kChains];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kChains; ++i) acc[i] = broadcast(static_cast<float>(i));
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kChains; ++i) acc[i] = fma(acc[i], x, x);
  }
  Vec total = zero();
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kChains; ++i) total = add(total, acc[i]);
  *sink = sum(total);
  return static_cast<double>(rounds) * static_cast<double>(2 * kChains * Vec::kLanes);
}

}  // namespace
}  // namespace devit
