#include "runtime/block.h"

#include <algorithm>

namespace devit {
namespace {

constexpr std::size_t kQueriesPerTask = 32;  // about

// narrow = attention of the first `rows` queries in wide.
void run_attention(const Executor& executor, const SubVitShape& shape, std::size_t heads,
                   Workspace& workspace, std::size_t rows) {
  const std::size_t inner = heads * shape.head_dim;
  const float* qkv = workspace.wide.data();
  const AttentionF32& attention = executor.kernels.attention_f32;
  const std::size_t step = kQueriesPerTask / attention.tile_rows * attention.tile_rows;
  executor.pool.parallel_for(heads * ((rows + step - 1) / step),
                             [&](std::size_t task, std::size_t thread) {
                               const std::size_t column = task % heads * shape.head_dim;
                               const std::size_t row = task / heads * step;
                               attention.run({.q = qkv + column,
                                              .k = qkv + inner + column,
                                              .v = qkv + 2 * inner + column,
                                              .out = workspace.narrow.data() + column,
                                              .scratch = workspace.scratch(thread),
                                              .tokens = shape.tokens(),
                                              .head_dim = shape.head_dim,
                                              .qkv_stride = 3 * inner,
                                              .out_stride = inner,
                                              .row_begin = row,
                                              .row_end = std::min(row + step, rows)});
                             });
}

}  // namespace

void run_block(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
               Workspace& workspace, std::size_t rows) {
  float* stream = workspace.stream.data();
  float* narrow = workspace.narrow.data();
  float* wide = workspace.wide.data();
  const ConvertedRows converted = workspace.converted(0);

  executor.layer_norm(stream, narrow, shape.tokens(), shape.embed_dim, shape.norm_eps);
  executor.linear(weights.qkv, narrow, converted, wide, shape.tokens(), Epilogue::kNone);
  run_attention(executor, shape, weights.heads, workspace, rows);
  executor.linear(weights.proj, narrow, converted, stream, rows, Epilogue::kResidual);

  if (shape.residual_norm) {
    executor.layer_norm_in_place(stream, weights.norm_scale.data(), weights.norm_shift.data(), rows,
                                 shape.embed_dim, shape.norm_eps);
    executor.linear(weights.fc1, stream, converted, wide, rows, Epilogue::kGelu);
  } else {
    executor.layer_norm(stream, narrow, rows, shape.embed_dim, shape.norm_eps);
    executor.linear(weights.fc1, narrow, converted, wide, rows, Epilogue::kGelu);
  }
  executor.linear(weights.fc2, wide, converted, stream, rows, Epilogue::kResidual);
}

}  // namespace devit
