#if !defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#error "compile this file with -march=armv8.2-a+fp16"
#endif

#include "kernels/gemm/gemm_f16.h"
#include "kernels/gemm/round_f16_neon_inl.h"

namespace devit {

void round_f16_neon_fp16(const RoundF16Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    const float* x = args.x + row * args.x_stride;
    Half* q = args.q + row * args.q_stride;
    const auto [scale, inverse] = half_scale(largest_bits(x, args.depth), args.limit);
    args.scale[row] = scale;
    if (inverse == 0.0f) {  // not by multiplying: NaN and infinity become zeros too
      __builtin_memset(q, 0, args.depth * sizeof(Half));
    } else {
      write_halves(x, inverse, args.depth, q);
    }
  }
}

}  // namespace devit
