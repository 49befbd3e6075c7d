#include "runtime/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "runtime/patches.h"

namespace devit {
namespace {

using Shape = std::span<const std::size_t>;

std::size_t count(Shape shape) {
  std::size_t product = 1;
  for (const std::size_t side : shape) product *= side;
  return product;
}

// By their bits: the exponent of NaN and infinity is all ones.
bool is_finite(float value) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  return (std::bit_cast<std::uint32_t>(value) & kExponent) != kExponent;
}

bool is_finite(Half value) {
  constexpr std::uint16_t kExponent = 0x7c00;
  return (value.bits & kExponent) != kExponent;
}

template <typename Number>
void require_finite(const std::string& name, const Number* values, Shape shape) {
  const std::size_t size = count(shape);
  bool finite = true;  // without a branch, so that the compiler uses vectors
  for (std::size_t i = 0; i < size; ++i) finite &= is_finite(values[i]);
  require(finite, "tensor '" + name + "' holds NaN or infinity");
}

void read_finite(TensorSource& source, const std::string& name, Shape shape,
                 const std::function<void(const float*)>& use) {
  source.read(name, shape, [&](const float* values) {
    require_finite(name, values, shape);
    use(values);
  });
}

AlignedBuffer<float> load_values(const std::string& name, Shape shape, TensorSource& source) {
  AlignedBuffer<float> values(count(shape));
  read_finite(source, name, shape,
              [&](const float* tensor) { std::copy_n(tensor, values.size(), values.data()); });
  return values;
}

void check_int8(const std::string& name, const float* scale, std::size_t cols, std::size_t depth) {
  require(depth <= kMaxGemmI8Depth, "tensor '" + name + "' has rows of " + std::to_string(depth) +
                                        " numbers, int8 takes " + std::to_string(kMaxGemmI8Depth));
  require(std::all_of(scale, scale + cols, [](float s) { return s > 0.0f && std::isfinite(s); }),
          "tensor '" + name + "' has a scale that is not positive and finite");
}

// What packing depends on.
struct Packer {
  const KernelTable& kernels;
  TensorSource& source;

  PackedLinear pack(const float* weight, const float*, std::size_t cols, std::size_t depth) const {
    const std::size_t tile_cols = kernels.gemm_f32.tile_cols;
    const std::size_t size = packed_gemm_f32_size(depth, cols, tile_cols) * sizeof(float);
    PackedLinear linear{Dtype::kFloat32, depth, cols, AlignedBuffer<std::byte>(size)};
    float* panels = reinterpret_cast<float*>(linear.panels.data());
    pack_gemm_f32_weight(weight, depth, cols, tile_cols, panels);
    return linear;
  }

  PackedLinear pack(const Half* weight, const float*, std::size_t cols, std::size_t depth) const {
    const std::size_t tile_cols = kernels.gemm_f16.tile_cols;
    const std::size_t size = packed_gemm_f16_size(depth, cols, tile_cols);
    PackedLinear linear{Dtype::kFloat16, depth, cols, AlignedBuffer<std::byte>(size)};
    linear.limit = half_limit(weight, cols * depth);
    pack_gemm_f16_weight(weight, depth, cols, tile_cols, linear.panels.data());
    return linear;
  }

  PackedLinear pack(const std::int8_t* weight, const float* scale, std::size_t cols,
                    std::size_t depth) const {
    const GemmI8& gemm = kernels.gemm_i8;
    const std::size_t size = packed_gemm_i8_size(depth, cols, gemm);
    PackedLinear linear{Dtype::kInt8, depth, cols, AlignedBuffer<std::byte>(size)};
    pack_gemm_i8_weight(weight, scale, depth, cols, gemm, linear.panels.data());
    return linear;
  }

  void pack_bias(const float* bias, PackedLinear& linear) const {
    std::byte* panels = linear.panels.data();
    const auto [depth, cols] = std::pair(linear.depth, linear.cols);
    switch (linear.dtype) {
      case Dtype::kFloat32:
        return pack_gemm_f32_bias(bias, depth, cols, kernels.gemm_f32.tile_cols,
                                  reinterpret_cast<float*>(panels));
      case Dtype::kFloat16:
        return pack_gemm_f16_bias(bias, depth, cols, kernels.gemm_f16.tile_cols, panels);
      case Dtype::kInt8:
        return pack_gemm_i8_bias(bias, depth, cols, kernels.gemm_i8, panels);
    }
  }

  // Calls use(weight, scale) with numbers of `dtype`; they are multiplied by `depth` at a time, or
  // more. Only int8 has scales.
  template <typename Use>
  void read_matrix(const std::string& name, Shape shape, std::size_t depth, Dtype dtype,
                   const Use& use) const {
    switch (dtype) {
      case Dtype::kFloat32:
        return read_finite(source, name, shape, [&](const float* weight) { use(weight, nullptr); });
      case Dtype::kFloat16:
        return source.read_float16(name, shape, [&](const Half* weight) {
          require_finite(name, weight, shape);
          use(weight, nullptr);
        });
      case Dtype::kInt8:
        return source.read_int8(name, shape, [&](const std::int8_t* weight, const float* scale) {
          check_int8(name, scale, shape[0], depth);
          use(weight, scale);
        });
    }
  }

  PackedLinear load_weight(const std::string& name, std::size_t cols, std::size_t depth,
                           Dtype dtype) const {
    PackedLinear linear;
    read_matrix(
        name, std::array{cols, depth}, depth, dtype,
        [&](const auto* weight, const float* scale) { linear = pack(weight, scale, cols, depth); });
    return linear;
  }

  PackedLinear load_linear(const std::string& name, std::size_t cols, std::size_t depth,
                           Dtype dtype) const {
    PackedLinear linear = load_weight(name + ".weight", cols, depth, dtype);
    read_finite(source, name + ".bias", std::array{cols},
                [&](const float* bias) { pack_bias(bias, linear); });
    return linear;
  }

  std::vector<KernelRows> load_convolution(const std::string& name, const ConvLayer& layer,
                                           Dtype dtype) const;
};

constexpr std::size_t kMaxConvDepth = 512;  // unless one row of the kernel has more

// Calls use(begin, end, rows [begin, end) of the kernels, depth) for all rows, a few at a time.
template <typename Element, typename Use>
void slice_kernels(const Element* weight, const ConvLayer& layer, const Use& use) {
  const std::size_t kernel = layer.conv.kernel_size;
  const std::size_t cols = layer.conv.channels;
  const std::size_t step = std::clamp<std::size_t>(kMaxConvDepth / layer.row_depth(), 1, kernel);
  for (std::size_t begin = 0; begin < kernel; begin += step) {
    const std::size_t end = std::min(begin + step, kernel);
    const std::size_t depth = (end - begin) * layer.row_depth();
    AlignedBuffer<Element> slice(cols * depth);
    for (std::size_t col = 0; col < cols; ++col) {
      const Element* from = weight + col * layer.depth() + begin * layer.row_depth();
      std::copy_n(from, depth, slice.data() + col * depth);
    }
    use(begin, end, slice.data(), depth);
  }
}

std::vector<KernelRows> Packer::load_convolution(const std::string& name, const ConvLayer& layer,
                                                 Dtype dtype) const {
  const std::size_t kernel = layer.conv.kernel_size;
  const std::size_t cols = layer.conv.channels;
  const std::array shape{cols, kernel, kernel, layer.in_channels};
  std::vector<KernelRows> groups;
  read_matrix(name, shape, layer.row_depth(), dtype, [&](const auto* weight, const float* scale) {
    slice_kernels(weight, layer, [&](auto begin, auto end, const auto* slice, auto depth) {
      groups.push_back({begin, end, pack(slice, scale, cols, depth)});
    });
  });
  return groups;
}

void load_tokenizer(const SubVitShape& shape, const Packer& packer, Dtype dtype, Weights& weights) {
  weights.offset = load_values("tokenizer.offset", std::array{kChannels}, packer.source);
  for (const ConvLayer& layer : shape.conv_layers()) {
    const std::size_t index = weights.tokenizer.size();
    const std::string name = "tokenizer." + std::to_string(index) + ".weight";
    // The first layer's weights hold 1/255 and meet raw pixels: they stay as they are.
    const Dtype own = index == 0 ? Dtype::kFloat32 : dtype;
    weights.tokenizer.push_back({layer, packer.load_convolution(name, layer, own)});
  }
}

// Rounds each row of a matrix (cols, depth) to 127 levels of either sign.
void round_rows(const float* weight, std::size_t cols, std::size_t depth, std::int8_t* levels,
                float* scale) {
  for (std::size_t col = 0; col < cols; ++col, weight += depth, levels += depth) {
    float largest = 0.0f;
    for (std::size_t k = 0; k < depth; ++k) largest = std::max(largest, std::abs(weight[k]));
    scale[col] = largest > 0.0f ? largest / 127.0f : 1.0f;
    for (std::size_t k = 0; k < depth; ++k) {
      levels[k] = static_cast<std::int8_t>(std::lround(weight[k] / scale[col]));
    }
  }
}

// Bundles store the patch embedding in float32. In int8 it is rounded here: its pixels are integers
// already, so its weights are all that loses digits. The bias gives back what pixels lose
// (kPixelOffset).
PackedLinear load_patch_embed(const SubVitShape& shape, const Packer& packer, Dtype dtype) {
  const std::string name = "patch_embed.weight";
  const std::size_t cols = shape.embed_dim;
  const std::size_t depth = shape.patch_dim();
  if (dtype != Dtype::kInt8 || depth >= kMaxGemmI8Depth) {
    return packer.load_weight(name, cols, depth, Dtype::kFloat32);
  }
  PackedLinear linear;
  read_finite(packer.source, name, std::array{cols, depth}, [&](const float* weight) {
    std::vector<std::int8_t> levels(cols * depth);
    std::vector<float> scale(cols);
    std::vector<float> bias(cols);
    round_rows(weight, cols, depth, levels.data(), scale.data());
    for (std::size_t col = 0; col < cols; ++col) {
      const std::int8_t* row = levels.data() + col * depth;
      const int sum = std::accumulate(row, row + depth, 0);
      bias[col] = static_cast<float>(kPixelOffset * double{scale[col]} * sum);
    }
    linear = packer.pack(levels.data(), scale.data(), cols, depth);
    packer.pack_bias(bias.data(), linear);
  });
  return linear;
}

BlockWeights load_block(const SubVitShape& shape, std::size_t index, const Packer& packer,
                        Dtype dtype) {
  const BlockShape& block = shape.blocks[index];
  const std::size_t dim = shape.embed_dim;
  const std::size_t inner = block.heads * shape.head_dim;
  const std::string prefix = "blocks." + std::to_string(index) + ".";
  BlockWeights loaded;
  loaded.heads = block.heads;
  loaded.qkv = packer.load_linear(prefix + "attn.qkv", 3 * inner, dim, dtype);
  loaded.proj = packer.load_linear(prefix + "attn.proj", dim, inner, dtype);
  if (shape.residual_norm) {
    loaded.norm_scale = load_values(prefix + "norm2.weight", std::array{dim}, packer.source);
    loaded.norm_shift = load_values(prefix + "norm2.bias", std::array{dim}, packer.source);
  }
  loaded.fc1 = packer.load_linear(prefix + "mlp.fc1", block.mlp_dim, dim, dtype);
  loaded.fc2 = packer.load_linear(prefix + "mlp.fc2", dim, block.mlp_dim, dtype);
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

Weights load_weights(const SubVitShape& shape, const KernelTable& kernels, Dtype dtype,
                     TensorSource& source) {
  Weights weights;
  const Packer packer{kernels, source};
  const std::size_t dim = shape.embed_dim;
  if (shape.tokenizer.empty()) {
    weights.patch_embed = load_patch_embed(shape, packer, dtype);
  } else {
    load_tokenizer(shape, packer, dtype, weights);
  }
  weights.pos_embed = load_values("pos_embed", std::array{shape.tokens(), dim}, source);
  for (std::size_t index = 0; index < shape.blocks.size(); ++index) {
    weights.blocks.push_back(load_block(shape, index, packer, dtype));
  }
  if (!shape.tokenizer.empty()) {
    weights.pool = load_values("pool.weight", std::array{dim}, source);
  }
  return weights;
}

}  // namespace devit
