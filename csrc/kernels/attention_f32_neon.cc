#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd_neon.h"

#include "kernels/attention_f32_inl.h"

namespace devit {

void attention_f32_neon(const AttentionF32Args& args) { attend_rows(args); }

}  // namespace devit
