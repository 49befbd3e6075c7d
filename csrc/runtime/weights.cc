#include "runtime/weights.h"

#include <algorithm>
#include <array>
#include <utility>

namespace devit {
namespace {

using Shape = std::span<const std::size_t>;

AlignedBuffer<float> load_values(const std::string& name, Shape shape, TensorSource& source) {
  std::size_t size = 1;
  for (const std::size_t side : shape) size *= side;
  AlignedBuffer<float> values(size);
  source.read(name, shape, [&](const float* tensor) { std::copy_n(tensor, size, values.data()); });
  return values;
}

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

constexpr std::size_t kMaxConvDepth = 512;  // unless one row of the kernel has more

std::vector<KernelRows> load_convolution(const std::string& name, const ConvLayer& layer,
                                         const GemmF32& gemm, TensorSource& source) {
  const std::size_t kernel = layer.conv.kernel_size;
  const std::size_t cols = layer.conv.channels;
  const std::size_t step = std::clamp<std::size_t>(kMaxConvDepth / layer.row_depth(), 1, kernel);
  std::vector<KernelRows> groups;
  source.read(name, std::array{cols, kernel, kernel, layer.in_channels}, [&](const float* weight) {
    for (std::size_t begin = 0; begin < kernel; begin += step) {
      const std::size_t end = std::min(begin + step, kernel);
      const std::size_t depth = (end - begin) * layer.row_depth();
      AlignedBuffer<float> slice(cols * depth);
      for (std::size_t col = 0; col < cols; ++col) {
        const float* from = weight + col * layer.depth() + begin * layer.row_depth();
        std::copy_n(from, depth, slice.data() + col * depth);
      }
      AlignedBuffer<float> panels(packed_gemm_f32_size(depth, cols, gemm.tile_cols));
      pack_gemm_f32_weight(slice.data(), depth, cols, gemm.tile_cols, panels.data());
      groups.push_back({begin, end, {depth, cols, std::move(panels)}});
    }
  });
  return groups;
}

void load_tokenizer(const SubVitShape& shape, const GemmF32& gemm, TensorSource& source,
                    Weights& weights) {
  weights.offset = load_values("tokenizer.offset", std::array{kChannels}, source);
  for (const ConvLayer& layer : shape.conv_layers()) {
    const std::string name = "tokenizer." + std::to_string(weights.tokenizer.size()) + ".weight";
    weights.tokenizer.push_back({layer, load_convolution(name, layer, gemm, source)});
  }
}

BlockWeights load_block(const SubVitShape& shape, std::size_t index, const GemmF32& gemm,
                        TensorSource& source) {
  const BlockShape& block = shape.blocks[index];
  const std::size_t dim = shape.embed_dim;
  const std::size_t inner = block.heads * shape.head_dim;
  const std::string prefix = "blocks." + std::to_string(index) + ".";
  BlockWeights loaded;
  loaded.heads = block.heads;
  loaded.qkv = load_linear(prefix + "attn.qkv", 3 * inner, dim, gemm, source);
  loaded.proj = load_linear(prefix + "attn.proj", dim, inner, gemm, source);
  if (shape.residual_norm) {
    loaded.norm_scale = load_values(prefix + "norm2.weight", std::array{dim}, source);
    loaded.norm_shift = load_values(prefix + "norm2.bias", std::array{dim}, source);
  }
  loaded.fc1 = load_linear(prefix + "mlp.fc1", block.mlp_dim, dim, gemm, source);
  loaded.fc2 = load_linear(prefix + "mlp.fc2", dim, block.mlp_dim, gemm, source);
  return loaded;
}

}  // namespace

std::size_t Weights::bytes() const {
  std::size_t total = patch_embed.panels.bytes() + offset.bytes() + pos_embed.bytes();
  for (const ConvWeights& conv : tokenizer) {
    for (const KernelRows& rows : conv.rows) total += rows.linear.panels.bytes();
  }
  for (const BlockWeights& block : blocks) {
    for (const PackedLinear* linear : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) {
      total += linear->panels.bytes();
    }
    total += block.norm_scale.bytes() + block.norm_shift.bytes();
  }
  return total + pool.bytes();
}

Weights load_weights(const SubVitShape& shape, const GemmF32& gemm, TensorSource& source) {
  Weights weights;
  const std::size_t dim = shape.embed_dim;
  if (shape.tokenizer.empty()) {
    weights.patch_embed = load_weight("patch_embed.weight", dim, shape.patch_dim(), gemm, source);
  } else {
    load_tokenizer(shape, gemm, source, weights);
  }
  weights.pos_embed = load_values("pos_embed", std::array{shape.tokens(), dim}, source);
  for (std::size_t index = 0; index < shape.blocks.size(); ++index) {
    weights.blocks.push_back(load_block(shape, index, gemm, source));
  }
  if (!shape.tokenizer.empty()) {
    weights.pool = load_values("pool.weight", std::array{dim}, source);
  }
  return weights;
}

}  // namespace devit
