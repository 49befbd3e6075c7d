#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/layer_norm_f32_inl.h"

namespace devit {

void layer_norm_f32_neon(const LayerNormF32Args& args) { normalise_rows(args); }

}  // namespace devit
