#if !defined(__AVX512F__) || !defined(__AVX512DQ__)
#error "compile this file with -mavx512f -mavx512dq"
#endif

#include "kernels/simd/simd_avx512.h"

#include "kernels/layer_norm/layer_norm_f32_inl.h"

namespace devit {

void layer_norm_f32_avx512(const LayerNormF32Args& args) { normalise_rows(args); }

}  // namespace devit
