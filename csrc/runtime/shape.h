#pragma once

#include <cstddef>
#include <vector>

namespace devit {

inline constexpr std::size_t kChannels = 3;

struct BlockShape {
  std::size_t heads;
  std::size_t mlp_dim;
};

// One layer of a convolutional tokenizer; max pooling of 3 x 3 pixels, every second one, follows.
struct ConvShape {
  std::size_t channels;
  std::size_t kernel_size;
  std::size_t stride;
  std::size_t padding;

  // Sides of the square after convolution, and after pooling, of a square of `side` pixels.
  std::size_t convolved(std::size_t side) const {
    return (side + 2 * padding - kernel_size) / stride + 1;
  }
  std::size_t pooled(std::size_t side) const { return (convolved(side) - 1) / 2 + 1; }
};

// A layer and the map that it gets, (side, side, in_channels).
struct ConvLayer {
  ConvShape conv;
  std::size_t side;
  std::size_t in_channels;

  // Numbers below one row of the kernel, and below all of it.
  std::size_t row_depth() const { return conv.kernel_size * in_channels; }
  std::size_t depth() const { return conv.kernel_size * row_depth(); }
  std::size_t convolved() const { return conv.convolved(side); }
  std::size_t pooled() const { return conv.pooled(side); }
};

// The sizes of one sub-ViT; what each means is said in devit_iot/bundle/spec.py.
struct SubVitShape {
  std::size_t image_size;
  std::size_t patch_size;
  std::size_t embed_dim;
  std::size_t head_dim;
  std::size_t prefix_tokens;
  std::vector<BlockShape> blocks;
  float norm_eps;
  std::vector<ConvShape> tokenizer;
  bool residual_norm;

  // Rows, and columns, of patches or of the tokenizer's pixels.
  std::size_t grid() const;
  std::size_t patches() const { return grid() * grid(); }
  std::size_t tokens() const { return prefix_tokens + patches(); }
  std::size_t patch_dim() const { return patch_size * patch_size * kChannels; }
  // Rows of the stream that the feature is made of: the prefix tokens, or all.
  std::size_t read_tokens() const { return tokenizer.empty() ? prefix_tokens : tokens(); }
  std::size_t feature_dim() const {
    return tokenizer.empty() ? prefix_tokens * embed_dim : embed_dim;
  }
  std::vector<ConvLayer> conv_layers() const;

  // Throws std::invalid_argument unless every size is possible.
  void validate() const;
};

}  // namespace devit
