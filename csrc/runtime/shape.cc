#include "runtime/shape.h"

#include "base/check.h"

namespace devit {
namespace {

constexpr std::size_t kMaxTokens = 16384;
constexpr std::size_t kMaxHeadDim = 256;
constexpr std::size_t kMaxWidth = std::size_t{1} << 20;  // keeps every product of sizes in range

constexpr std::size_t kMaxMap = std::size_t{1} << 26;  // numbers that a convolution may make

void require_width(const char* name, std::size_t value) {
  require(value >= 1 && value <= kMaxWidth, std::string(name) + " must be in [1, " +
                                                std::to_string(kMaxWidth) + "], got " +
                                                std::to_string(value));
}

void validate_patches(const SubVitShape& shape) {
  require_width("patch_size", shape.patch_size);
  require(shape.image_size % shape.patch_size == 0,
          "patch_size " + std::to_string(shape.patch_size) + " does not divide image_size " +
              std::to_string(shape.image_size));
  require(shape.prefix_tokens == 1 || shape.prefix_tokens == 2,
          "prefix_tokens must be 1 or 2, got " + std::to_string(shape.prefix_tokens));
}

void validate_tokenizer(const SubVitShape& shape) {
  require(shape.patch_size == 0 && shape.prefix_tokens == 0,
          "patch_size and prefix_tokens must be 0 with a tokenizer");
  ConvLayer layer{{}, shape.image_size, kChannels};
  for (const ConvShape& conv : shape.tokenizer) {
    layer.conv = conv;
    require_width("channels", conv.channels);
    require_width("kernel_size", conv.kernel_size);
    require_width("stride", conv.stride);
    require(conv.padding < conv.kernel_size, "padding must be less than kernel_size");
    require_width("kernel_size^2 * channels", layer.depth());
    require(layer.side + 2 * conv.padding >= conv.kernel_size, "the tokenizer leaves no token");
    require(layer.convolved() * layer.convolved() * conv.channels <= kMaxMap,
            "a convolution makes more than " + std::to_string(kMaxMap) + " numbers");
    layer.side = layer.pooled();
    layer.in_channels = conv.channels;
  }
  require(layer.in_channels == shape.embed_dim,
          "the tokenizer's last layer must have embed_dim channels");
}

}  // namespace

std::size_t SubVitShape::grid() const {
  if (tokenizer.empty()) return image_size / patch_size;
  std::size_t side = image_size;
  for (const ConvShape& conv : tokenizer) side = conv.pooled(side);
  return side;
}

std::vector<ConvLayer> SubVitShape::conv_layers() const {
  std::vector<ConvLayer> layers;
  std::size_t side = image_size;
  std::size_t channels = kChannels;
  for (const ConvShape& conv : tokenizer) {
    layers.push_back({conv, side, channels});
    side = conv.pooled(side);
    channels = conv.channels;
  }
  return layers;
}

void SubVitShape::validate() const {
  require_width("image_size", image_size);
  require_width("embed_dim", embed_dim);
  require_width("head_dim", head_dim);
  require(head_dim <= kMaxHeadDim, "head_dim must be at most " + std::to_string(kMaxHeadDim) +
                                       ", got " + std::to_string(head_dim));
  tokenizer.empty() ? validate_patches(*this) : validate_tokenizer(*this);
  require(grid() <= kMaxTokens && tokens() <= kMaxTokens,
          "more than " + std::to_string(kMaxTokens) + " tokens");
  require(norm_eps > 0.0f, "norm_eps must be positive");
  require(!blocks.empty(), "a sub-ViT needs at least one block");
  for (const BlockShape& block : blocks) {
    require_width("heads", block.heads);
    require_width("heads * head_dim", block.heads * head_dim);
    require_width("mlp_dim", block.mlp_dim);
  }
}

}  // namespace devit
