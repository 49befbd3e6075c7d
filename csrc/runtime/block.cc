#include "runtime/block.h"

#include "runtime/attention.h"
#include "runtime/mlp.h"

namespace devit {
namespace {

// workspace.wide = Q, K and V of the stream's norm, for all tokens.
void project_tokens(const Executor& executor, const SubVitShape& shape, const PackedLinear& qkv,
                    Workspace& workspace) {
  const std::size_t tokens = shape.tokens();
  const float* stream = workspace.stream.data();
  float* normed = workspace.narrow.data();
  const ConvertedRows converted = workspace.converted(0);
  if (converted_row_bytes(executor.kernels, qkv) == 0) {
    executor.layer_norm(stream, normed, tokens, shape.embed_dim, shape.norm_eps);
  } else {
    executor.convert_normed(qkv, stream, workspace.thread_floats(), converted, tokens,
                            shape.norm_eps);
  }
  executor.multiply(qkv, normed, converted, workspace.wide.data(), tokens, Epilogue::kNone);
}

}  // namespace

void run_block(const Executor& executor, const SubVitShape& shape, const BlockWeights& weights,
               Workspace& workspace, std::size_t rows) {
  project_tokens(executor, shape, weights.qkv, workspace);
  run_attention(executor, shape, weights, workspace, rows);
  executor.linear(weights.proj, workspace.narrow.data(), workspace.converted(0),
                  workspace.stream.data(), rows, Epilogue::kResidual);
  run_mlp(executor, shape, weights, workspace, rows);
}

}  // namespace devit
