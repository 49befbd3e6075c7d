#include "runtime/block.h"

#include "runtime/attention.h"

namespace devit {
void run_block(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
               Workspace& workspace, std::size_t rows) {
  float* stream = workspace.stream.data();
  float* narrow = workspace.narrow.data();
  float* wide = workspace.wide.data();
  const ConvertedRows converted = workspace.converted(0);

  executor.layer_norm(stream, narrow, shape.tokens(), shape.embed_dim, shape.norm_eps);
  executor.linear(weights.qkv, narrow, converted, wide, shape.tokens(), Epilogue::kNone);
  run_attention(executor, shape, weights, workspace, rows);
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
