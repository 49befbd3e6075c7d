#pragma once

#include <cstddef>
#include <vector>

namespace devit {

inline constexpr std::size_t kChannels = 3;

struct BlockShape {
  std::size_t heads;
  std::size_t mlp_dim;
};

// The sizes of one sub-ViT; what each means is said in devit_iot/spec.py.
struct SubVitShape {
  std::size_t image_size;
  std::size_t patch_size;
  std::size_t embed_dim;
  std::size_t head_dim;
  std::size_t prefix_tokens;
  std::vector<BlockShape> blocks;
  float norm_eps;

  std::size_t grid() const { return image_size / patch_size; }
  std::size_t patches() const { return grid() * grid(); }
  std::size_t tokens() const { return prefix_tokens + patches(); }
  std::size_t patch_dim() const { return patch_size * patch_size * kChannels; }
  std::size_t feature_dim() const { return prefix_tokens * embed_dim; }

  // Throws std::invalid_argument unless every size is possible.
  void validate() const;
};

}  // namespace devit
