#include "kernels/simd/simd_scalar.h"

#include "kernels/gemm/gemm_f16_broadcast_inl.h"

namespace devit {

void gemm_f16_4x8_scalar(const GemmF16Args& args) {
  multiply_portion_f16<WideBroadcastTile<4, 8>>(args);
}

}  // namespace devit
