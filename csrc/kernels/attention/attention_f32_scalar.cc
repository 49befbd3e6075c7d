#include "kernels/simd/simd_scalar.h"

#include "kernels/attention/attention_f32_broadcast_inl.h"

namespace devit {

void attention_f32_scalar(const AttentionF32Args& args) {
  attend_rows<BroadcastProducts<4, 4, 6>>(args);
}

}  // namespace devit
