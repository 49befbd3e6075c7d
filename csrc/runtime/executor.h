#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "kernels/registry.h"
#include "runtime/weights.h"

namespace devit {

// Room for the rows of one matrix as kernels take them that take no floats: see quantize() in
// gemm_i8.h and round() in gemm_f16.h. Unused by the others.
struct NarrowRows {
  std::byte* rows;
  float* scales;
};

// Bytes of one such row of a layer's input; 0 if its kernel takes floats.
std::size_t narrow_row_bytes(const KernelTable& kernels, const PackedLinear& layer);

// Spreads kernels over a thread pool. Owns nothing, keeps nothing.
struct Executor {
  const KernelTable& kernels;
  ThreadPool& pool;

  // out = epilogue(a W^T + b) for the first `rows` rows; both matrices are dense.
  void linear(const PackedLinear& layer, const float* a, NarrowRows narrowed, float* out,
              std::size_t rows, Epilogue epilogue) const;

  // The same on the calling thread alone: for rows that it has just made.
  void linear_here(const PackedLinear& layer, const float* a, NarrowRows narrowed, float* out,
                   std::size_t rows, Epilogue epilogue) const;

  // out = layer norm of the first `rows` rows of x; both matrices are dense.
  void layer_norm(const float* x, float* out, std::size_t rows, std::size_t dim, float eps) const;

  // x = scale * (layer norm of x) + shift, for the first `rows` rows of the dense matrix x.
  void layer_norm_in_place(float* x, const float* scale, const float* shift, std::size_t rows,
                           std::size_t dim, float eps) const;
};

}  // namespace devit
