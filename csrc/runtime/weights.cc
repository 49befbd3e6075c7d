#include "runtime/weights.h"

#include <algorithm>
#include <array>

namespace devit {
namespace {

PackedLinear load_weight(const std::string& name, std::size_t cols, std::size_t depth,
                         const GemmF32& gemm, TensorSource& source) {
  PackedLinear linear{depth, cols,
                      AlignedBuffer<float>(packed_gemm_f32_size(depth, cols, gemm.tile_cols))};
  source.read(name, std::array{cols, depth}, [&](const float* weight) {
    pack_gemm_f32_weight(weight, depth, cols, gemm.tile_cols, linear.panels.data());
  });
  return linear;
}

PackedLinear load_linear(const std::string& name, std::size_t cols, std::size_t depth,
                         const GemmF32& gemm, TensorSource& source) {
  PackedLinear linear = load_weight(name + ".weight", cols, depth, gemm, source);
  source.read(name + ".bias", std::array{cols}, [&](const float* bias) {
    pack_gemm_f32_bias(bias, depth, cols, gemm.tile_cols, linear.panels.data());
  });
  return linear;
}

}  // namespace

std::size_t Weights::bytes() const {
  std::size_t total = patch_embed.panels.bytes() + pos_embed.bytes();
  for (const BlockWeights& block : blocks) {
    for (const PackedLinear* linear : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) {
      total += linear->panels.bytes();
    }
  }
  return total;
}

Weights load_weights(const SubVitShape& shape, const GemmF32& gemm, TensorSource& source) {
  Weights weights;
  weights.patch_embed =
      load_weight("patch_embed.weight", shape.embed_dim, shape.patch_dim(), gemm, source);
  const std::size_t tokens = shape.tokens();
  weights.pos_embed = AlignedBuffer<float>(tokens * shape.embed_dim);
  source.read("pos_embed", std::array{tokens, shape.embed_dim}, [&](const float* pos_embed) {
    std::copy_n(pos_embed, weights.pos_embed.size(), weights.pos_embed.data());
  });
  for (std::size_t index = 0; index < shape.blocks.size(); ++index) {
    const BlockShape& block = shape.blocks[index];
    const std::size_t inner = block.heads * shape.head_dim;
    const std::string prefix = "blocks." + std::to_string(index) + ".";
    BlockWeights loaded;
    loaded.heads = block.heads;
    loaded.qkv = load_linear(prefix + "attn.qkv", 3 * inner, shape.embed_dim, gemm, source);
    loaded.proj = load_linear(prefix + "attn.proj", shape.embed_dim, inner, gemm, source);
    loaded.fc1 = load_linear(prefix + "mlp.fc1", block.mlp_dim, shape.embed_dim, gemm, source);
    loaded.fc2 = load_linear(prefix + "mlp.fc2", shape.embed_dim, block.mlp_dim, gemm, source);
    weights.blocks.push_back(std::move(loaded));
  }
  return weights;
}

}  // namespace devit
