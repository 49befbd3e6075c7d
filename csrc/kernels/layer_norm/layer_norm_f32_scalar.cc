#include "kernels/simd/simd_scalar.h"

#include "kernels/layer_norm/layer_norm_f32_inl.h"

namespace devit {

void layer_norm_f32_scalar(const LayerNormF32Args& args) { normalise_rows(args); }

}  // namespace devit
