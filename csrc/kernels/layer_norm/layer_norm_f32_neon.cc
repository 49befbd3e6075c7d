#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif

#include "kernels/simd/simd_neon.h"

#include "kernels/layer_norm/layer_norm_f32.h"

namespace devit {
namespace {

constexpr std::size_t kVecs = 4;  // sums side by side: an addition waits for none before it
constexpr std::size_t kStep = kVecs * Vec::kLanes;

// The sum of term(v) over all vectors v of the row; the last may be partial, filled up with `fill`.
template <typename Term>
inline float sum_of(const float* x, std::size_t dim, float fill, const Term& term) {
  Vec total[kVecs];
#pragma GCC unroll 4
  for (Vec& part : total) part = zero();
  std::size_t i = 0;
  for (; i + kStep <= dim; i += kStep) {
#pragma GCC unroll 4
    for (std::size_t n = 0; n < kVecs; ++n) {
      total[n] = term(load(x + i + n * Vec::kLanes), total[n]);
    }
  }
  for (; i + Vec::kLanes <= dim; i += Vec::kLanes) total[0] = term(load(x + i), total[0]);
  if (i < dim) {
    float last[Vec::kLanes] = {fill, fill, fill, fill};
    for (std::size_t n = 0; i + n < dim; ++n) last[n] = x[i + n];
    total[1] = term(load(last), total[1]);
  }
  return sum(add(add(total[0], total[1]), add(total[2], total[3])));
}

inline void normalise_row(const float* x, float* out, std::size_t dim, float eps) {
  const float count = static_cast<float>(dim);
  const float mean = sum_of(x, dim, 0.0f, [](Vec v, Vec total) { return add(total, v); }) / count;
  const Vec centre = broadcast(mean);
  const float squares = sum_of(x, dim, mean, [centre](Vec v, Vec total) {
    const Vec d = sub(v, centre);
    return fma(d, d, total);
  });
  const Vec scale = broadcast(1.0f / __builtin_sqrtf(squares / count + eps));

  std::size_t i = 0;
  for (; i + kStep <= dim; i += kStep) {
    Vec v[kVecs];
#pragma GCC unroll 4
    for (std::size_t n = 0; n < kVecs; ++n) v[n] = load(x + i + n * Vec::kLanes);
#pragma GCC unroll 4
    for (std::size_t n = 0; n < kVecs; ++n) {
      store(out + i + n * Vec::kLanes, mul(sub(v[n], centre), scale));
    }
  }
  for (; i + Vec::kLanes <= dim; i += Vec::kLanes) {
    store(out + i, mul(sub(load(x + i), centre), scale));
  }
  if (i < dim) {
    store_partial(out + i, mul(sub(load_partial(x + i, dim - i), centre), scale), dim - i);
  }
}

}  // namespace

void layer_norm_f32_neon(const LayerNormF32Args& args) {
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    normalise_row(args.x + row * args.x_stride, args.out + row * args.out_stride, args.dim,
                  args.eps);
  }
}

}  // namespace devit
