#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with -mavx2 -mfma -mf16c"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/gemm/gemm_f16_broadcast_inl.h"

namespace devit {

void gemm_f16_6x16_avx2(const GemmF16Args& args) {
  multiply_portion_f16<WideBroadcastTile<6, 2>>(args);
}

}  // namespace devit
