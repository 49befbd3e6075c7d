#include "runtime/mlp.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "runtime/workspace.h"

namespace devit {
namespace {

constexpr std::size_t kCacheBytes = 400'000;  // what a cache of 512 kB keeps for sure
constexpr std::size_t kFewestRows = 32;       // fewer are not worth reading the weights again

// The hidden layer exists as floats of all rows.
void run_in_floats(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
                   Workspace& workspace, std::size_t rows) {
  float* stream = workspace.stream.data();
  float* normed = stream;
  float* hidden = workspace.wide.data();
  const ConvertedRows none{};
  if (!shape.residual_norm) {
    normed = workspace.narrow.data();
    executor.layer_norm(stream, normed, rows, shape.embed_dim, shape.norm_eps);
  }
  executor.multiply(weights.fc1, normed, none, hidden, rows, Epilogue::kGelu);
  executor.multiply(weights.fc2, hidden, none, stream, rows, Epilogue::kResidual);
}

// The hidden layer is floats of this many of `rows` rows at a time: as many as a small board's
// cache holds beside the weights of fc1, which each portion reads again. All rows where those
// weights fill the cache by themselves.
std::size_t hidden_rows(const KernelTable& kernels, const BlockWeights& weights, std::size_t rows) {
  const PackedLinear& fc1 = weights.fc1;
  const std::size_t row_bytes = fc1.cols * sizeof(float) + converted_row_bytes(kernels, fc1) +
                                converted_row_bytes(kernels, weights.fc2);
  const std::size_t left = kCacheBytes - std::min(kCacheBytes, fc1.panels.bytes());
  const std::size_t most = left / row_bytes;
  if (most < kFewestRows || most >= rows) return rows;
  const std::size_t portions = ceil_div(rows, most);
  const std::size_t tile =
      fc1.dtype == Dtype::kInt8 ? kernels.gemm_i8.tile_rows : kernels.gemm_f16.tile_rows;
  return ceil_div(ceil_div(rows, portions), tile) * tile;
}

// The input of fc2 is floats of some rows at a time only.
void run_converted(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
                   Workspace& workspace, std::size_t rows) {
  const KernelTable& kernels = executor.kernels;
  float* stream = workspace.stream.data();
  float* hidden = workspace.wide.data();
  const std::size_t fc1_bytes = converted_row_bytes(kernels, weights.fc1);
  const std::size_t fc2_bytes = converted_row_bytes(kernels, weights.fc2);
  const ConvertedRows input = workspace.converted(0);
  const ConvertedRows output = input.from(rows, fc1_bytes);
  if (shape.residual_norm) {
    executor.convert(weights.fc1, stream, input, rows);
  } else {
    executor.convert_normed(weights.fc1, stream, workspace.thread_floats(), input, rows,
                            shape.norm_eps);
  }
  const std::size_t step = hidden_rows(kernels, weights, rows);
  for (std::size_t begin = 0; begin < rows; begin += step) {
    const std::size_t count = std::min(step, rows - begin);
    executor.multiply(weights.fc1, nullptr, input.from(begin, fc1_bytes), hidden, count,
                      Epilogue::kGelu);
    executor.convert(weights.fc2, hidden, output.from(begin, fc2_bytes), count);
  }
  executor.multiply(weights.fc2, nullptr, output, stream, rows, Epilogue::kResidual);
}

}  // namespace

void run_mlp(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
             Workspace& workspace, std::size_t rows) {
  if (shape.residual_norm) {
    executor.layer_norm_in_place(workspace.stream.data(), weights.norm_scale.data(),
                                 weights.norm_shift.data(), rows, shape.embed_dim, shape.norm_eps);
  }
  if (converted_row_bytes(executor.kernels, weights.fc2) == 0) {
    run_in_floats(executor, shape, weights, workspace, rows);
  } else {
    run_converted(executor, shape, weights, workspace, rows);
  }
}

}  // namespace devit
