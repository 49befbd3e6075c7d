#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/peak/fma_peak_f32_inl.h"

namespace devit {

double fma_peak_f32_avx2(std::size_t rounds, float* sink) {
  return multiply_add_chains(rounds, sink);
}

}  // namespace devit
