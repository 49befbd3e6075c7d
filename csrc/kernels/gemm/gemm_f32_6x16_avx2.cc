#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/gemm/gemm_f32_inl.h"

namespace devit {

void gemm_f32_6x16_avx2(const GemmF32Args& args) { multiply_portion<BroadcastTile<6, 2>>(args); }

}  // namespace devit
