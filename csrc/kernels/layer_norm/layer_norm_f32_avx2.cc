#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/layer_norm/layer_norm_f32_inl.h"

namespace devit {

void layer_norm_f32_avx2(const LayerNormF32Args& args) { normalise_rows(args); }

}  // namespace devit
