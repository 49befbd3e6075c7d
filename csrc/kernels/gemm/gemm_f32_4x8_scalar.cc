#include "kernels/simd/simd_scalar.h"

#include "kernels/gemm/gemm_f32_inl.h"

namespace devit {

void gemm_f32_4x8_scalar(const GemmF32Args& args) { multiply_portion<BroadcastTile<4, 8>>(args); }

}  // namespace devit
