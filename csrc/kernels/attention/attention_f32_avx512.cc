#if !defined(__AVX512F__) || !defined(__AVX512DQ__)
#error "compile this file with -mavx512f -mavx512dq"
#endif

#include "kernels/simd/simd_avx512.h"

#include "kernels/attention/attention_f32_broadcast_inl.h"

namespace devit {

void attention_f32_avx512(const AttentionF32Args& args) {
  attend_rows<BroadcastProducts<1, 2, 12>>(args);
}

}  // namespace devit
