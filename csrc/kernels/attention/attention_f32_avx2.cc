#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/attention/attention_f32_broadcast_inl.h"

namespace devit {

void attention_f32_avx2(const AttentionF32Args& args) {
  attend_rows<BroadcastProducts<2, 2, 6>>(args);
}

}  // namespace devit
