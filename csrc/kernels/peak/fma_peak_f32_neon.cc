#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/peak/fma_peak_f32_inl.h"

namespace devit {

double fma_peak_f32_neon(std::size_t rounds, float* sink) {
  return multiply_add_chains(rounds, sink);
}

}  // namespace devit
