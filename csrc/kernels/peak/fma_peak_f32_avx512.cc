#if !defined(__AVX512F__) || !defined(__AVX512DQ__)
#error "compile this file with -mavx512f -mavx512dq"
#endif

#include "kernels/simd/simd_avx512.h"

#include "kernels/peak/fma_peak_f32_inl.h"

namespace devit {

double fma_peak_f32_avx512(std::size_t rounds, float* sink) {
  return multiply_add_chains(rounds, sink);
}

}  // namespace devit
