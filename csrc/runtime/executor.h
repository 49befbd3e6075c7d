#pragma once

#include <cstddef>

#include "base/thread_pool.h"
#include "kernels/registry.h"
#include "runtime/weights.h"

namespace devit {

// Room for a layer's input in the form that kernels of fewer bits take: bytes (quantize() in
// gemm_i8.h) or halves (round() in gemm_f16.h). A view: whoever hands it out owns the memory.
//
// Shapes    rows:   (n, converted_row_bytes() of the layer), without a gap between rows
//           scales: (n), one factor per row
// Needs     n is at least the number of rows of the call that gets it; the memory overlaps neither
//           the input nor the output. Both pointers may be null if converted_row_bytes() is 0: such
//           a kernel takes floats and looks at neither.
// State     what a call leaves here is of no use to the next one. Two calls at the same time, on
//           different threads, need two.
struct ConvertedRows {
  std::byte* rows;
  float* scales;

  // The rows from `row` on; each has `row_bytes` bytes.
  ConvertedRows from(std::size_t row, std::size_t row_bytes) const {
    return {rows + row * row_bytes, scales + row};
  }
};

// Floats of each thread's own: thread t has those from data + t * stride on.
struct ThreadFloats {
  float* data;
  std::size_t stride;
};

// Rows of one task of a norm, or of a conversion.
inline constexpr std::size_t kNormRows = 16;

// Bytes of one row of a layer's input in ConvertedRows; 0 if the layer's kernel takes floats.
std::size_t converted_row_bytes(const KernelTable& kernels, const PackedLinear& layer);

// Spreads kernels over a thread pool.
//
// Needs     matrices are dense: a row follows the one before it without a gap. No output overlaps
//           an input, but in layer_norm_in_place().
// State     none: it owns nothing and keeps nothing. One call at a time may use `pool`. What
//           linear_here() does stays on its thread, so a task of the pool may call it.
struct Executor {
  const KernelTable& kernels;
  ThreadPool& pool;

  // out = epilogue(a W^T + b) for the first `rows` rows. With Epilogue::kResidual the old `out` is
  // added. a: (rows, layer.depth), out: (rows, layer.cols), converted: room for `rows` rows.
  void linear(const PackedLinear& layer, const float* a, ConvertedRows converted, float* out,
              std::size_t rows, Epilogue epilogue) const;

  // What linear() does first, where the layer's kernel takes no floats: `converted` becomes the
  // first `rows` rows of a, or of their layer norm as of layer_norm(). A thread's `normed` has room
  // for kNormRows rows.
  void convert(const PackedLinear& layer, const float* a, ConvertedRows converted,
               std::size_t rows) const;
  void convert_normed(const PackedLinear& layer, const float* x, ThreadFloats normed,
                      ConvertedRows converted, std::size_t rows, float eps) const;

  // What linear() does then. `a` is not read where the layer's kernel takes no floats.
  void multiply(const PackedLinear& layer, const float* a, ConvertedRows converted, float* out,
                std::size_t rows, Epilogue epilogue) const;

  // What linear() computes, on the calling thread alone: for rows that it has just made.
  void linear_here(const PackedLinear& layer, const float* a, ConvertedRows converted, float* out,
                   std::size_t rows, Epilogue epilogue) const;

  // What linear_here() computes of rows that are in `converted` already.
  void linear_converted(const PackedLinear& layer, ConvertedRows converted, float* out,
                        std::size_t rows, Epilogue epilogue) const;

  // out = layer norm of the first `rows` rows of x, without scale and shift; x, out: (rows, dim).
  void layer_norm(const float* x, float* out, std::size_t rows, std::size_t dim, float eps) const;

  // x = scale * (layer norm of x) + shift, in place, for the first `rows` rows of x: (rows, dim);
  // scale, shift: (dim).
  void layer_norm_in_place(float* x, const float* scale, const float* shift, std::size_t rows,
                           std::size_t dim, float eps) const;
};

}  // namespace devit
