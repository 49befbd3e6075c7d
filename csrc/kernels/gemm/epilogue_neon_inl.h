#pragma once

#include "kernels/gemm/gemm_f32.h"
#include "kernels/simd/math_f32_inl.h"

// Include simd_neon.h first, in a block of its own.
namespace devit {
namespace {

// Sums that left the registers, so that the epilogue can be a loop: `rows` rows of `width` of them,
// whole vectors, of which `out` takes the first `cols` columns.
[[gnu::noinline]] void finish_sums(float* sums, std::size_t rows, std::size_t width, float* out,
                                   std::size_t out_stride, std::size_t cols, Epilogue epilogue) {
  if (epilogue == Epilogue::kGelu) {
    for (float* p = sums; p != sums + rows * width; p += Vec::kLanes) store(p, gelu(load(p)));
  }
  const bool residual = epilogue == Epilogue::kResidual;
  for (std::size_t i = 0; i < rows; ++i, out += out_stride, sums += width) {
    std::size_t j = 0;
    for (; j + Vec::kLanes <= width && j + Vec::kLanes <= cols; j += Vec::kLanes) {
      store(out + j, residual ? add(load(sums + j), load(out + j)) : load(sums + j));
    }
    if (j == width) continue;
    const Vec y = load(sums + j);
    const std::size_t rest = cols - j;
    store_partial(out + j, residual ? add(y, load_partial(out + j, rest)) : y, rest);
  }
}

// out[i][j] = f(acc[i][j]), f as in gemm_f32.h, for the first `cols` columns of a tile of whole
// vectors; `cols` may exceed the tile, and leaves no whole vector of it out.
template <std::size_t rows, std::size_t vecs>
inline void store_tile(const float32x4_t (&acc)[rows][vecs], float* out, std::size_t out_stride,
                       std::size_t cols, Epilogue epilogue) {
  if (epilogue == Epilogue::kGelu || cols < 4 * vecs) {
    float sums[rows][4 * vecs];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(sums[i] + 4 * j, acc[i][j]);
    }
    finish_sums(sums[0], rows, 4 * vecs, out, out_stride, cols, epilogue);
  } else if (epilogue == Epilogue::kResidual) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) {
        vst1q_f32(out + 4 * j, vaddq_f32(acc[i][j], vld1q_f32(out + 4 * j)));
      }
    }
  } else {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < rows; ++i, out += out_stride) {
#pragma GCC unroll 8
      for (std::size_t j = 0; j < vecs; ++j) vst1q_f32(out + 4 * j, acc[i][j]);
    }
  }
}

}  // namespace
}  // namespace devit
