#if !defined(__AVX512F__) || !defined(__AVX512DQ__)
#error "compile this file with -mavx512f -mavx512dq"
#endif

#include "kernels/simd/simd_avx512.h"

#include "kernels/gemm/gemm_f32_inl.h"

namespace devit {

void gemm_f32_12x32_avx512(const GemmF32Args& args) {
  multiply_portion<BroadcastTile<12, 2>>(args);
}

}  // namespace devit
