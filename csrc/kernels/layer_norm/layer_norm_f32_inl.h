#pragma once

#include "kernels/layer_norm/layer_norm_f32.h"

// Include simd_<isa>.h first, in a block of its own.
namespace devit {
namespace {

inline void normalise_row(const float* x, float* out, std::size_t dim, float eps) {
  constexpr std::size_t kLanes = Vec::kLanes;
  const std::size_t whole = dim - dim % kLanes;
  const std::size_t rest = dim - whole;
  const float count = static_cast<float>(dim);

  Vec total = zero();
  for (std::size_t i = 0; i < whole; i += kLanes) total = add(total, load(x + i));
  if (rest != 0) total = add(total, load_partial(x + whole, rest));
  const float mean = sum(total) / count;
  const Vec centre = broadcast(mean);

  Vec squares = zero();
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Vec d = sub(load(x + i), centre);
    squares = fma(d, d, squares);
  }
  float square_sum = sum(squares);
  for (std::size_t i = whole; i < dim; ++i) square_sum += (x[i] - mean) * (x[i] - mean);
  const Vec scale = broadcast(1.0f / __builtin_sqrtf(square_sum / count + eps));

  for (std::size_t i = 0; i < whole; i += kLanes) {
    store(out + i, mul(sub(load(x + i), centre), scale));
  }
  if (rest != 0) {
    store_partial(out + whole, mul(sub(load_partial(x + whole, rest), centre), scale), rest);
  }
}

inline void normalise_rows(const LayerNormF32Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    normalise_row(args.x + row * args.x_stride, args.out + row * args.out_stride, args.dim,
                  args.eps);
  }
}

}  // namespace
}  // namespace devit
