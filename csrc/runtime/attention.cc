#include "runtime/attention.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "runtime/workspace.h"

namespace devit {
namespace {

constexpr std::size_t kQueriesPerTask = 32;  // about

void attend(const Executor& executor, const SubVitShape& shape, std::size_t heads,
            Workspace& workspace, std::size_t rows) {
  const std::size_t inner = heads * shape.head_dim;
  const float* qkv = workspace.wide.data();
  const AttentionF32& attention = executor.kernels.attention_f32;
  const std::size_t step = kQueriesPerTask / attention.tile_rows * attention.tile_rows;
  executor.pool.parallel_for(heads * ceil_div(rows, step),
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

// A head is packed once, and read by all of its tasks.
void attend_in_halves(const Executor& executor, const SubVitShape& shape, std::size_t heads,
                      Workspace& workspace, std::size_t rows) {
  const std::size_t inner = heads * shape.head_dim;
  const float* qkv = workspace.wide.data();
  executor.pool.parallel_for(heads, [&](std::size_t head, std::size_t) {
    const float* q = qkv + head * shape.head_dim;
    workspace.heads[head] = workspace.head_memory(shape, head);
    executor.kernels.attention_f16.pack({.q = q,
                                         .k = q + inner,
                                         .v = q + 2 * inner,
                                         .head = &workspace.heads[head],
                                         .tokens = shape.tokens(),
                                         .rows = rows,
                                         .head_dim = shape.head_dim,
                                         .qkv_stride = 3 * inner});
  });
  constexpr std::size_t kStep = kQueriesPerTask / kTileQueriesF16 * kTileQueriesF16;
  executor.pool.parallel_for(
      heads * ceil_div(rows, kStep), [&](std::size_t task, std::size_t thread) {
        const std::size_t head = task % heads;
        const std::size_t row = task / heads * kStep;
        executor.kernels.attention_f16.run({.head = &workspace.heads[head],
                                            .out = workspace.narrow.data() + head * shape.head_dim,
                                            .scratch = workspace.scratch(thread),
                                            .tokens = shape.tokens(),
                                            .head_dim = shape.head_dim,
                                            .out_stride = inner,
                                            .row_begin = row,
                                            .row_end = std::min(row + kStep, rows)});
      });
}

}  // namespace

bool attends_in_halves(const KernelTable& kernels, const SubVitShape& shape,
                       const BlockWeights& weights) {
  return kernels.attention_f16.run != nullptr && weights.qkv.dtype != Dtype::kFloat32 &&
         shape.head_dim <= kMaxHeadF16;
}

std::size_t packed_head_bytes(const SubVitShape& shape) {
  const std::size_t tokens = shape.tokens();
  return (packed_queries_f16(tokens, shape.head_dim) +
          2 * packed_rows_f16(tokens, shape.head_dim)) *
         sizeof(Half);
}

void run_attention(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
                   Workspace& workspace, std::size_t rows) {
  if (attends_in_halves(executor.kernels, shape, weights)) {
    attend_in_halves(executor, shape, weights.heads, workspace, rows);
  } else {
    attend(executor, shape, weights.heads, workspace, rows);
  }
}

}  // namespace devit
