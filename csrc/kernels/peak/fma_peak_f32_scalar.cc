#include "kernels/simd/simd_scalar.h"

#include "kernels/peak/fma_peak_f32_inl.h"

namespace devit {

double fma_peak_f32_scalar(std::size_t rounds, float* sink) {
  return multiply_add_chains(rounds, sink);
}

}  // namespace devit
