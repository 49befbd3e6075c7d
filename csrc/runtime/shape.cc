#include "runtime/shape.h"

#include "base/check.h"

namespace devit {
namespace {

constexpr std::size_t kMaxTokens = 16384;
constexpr std::size_t kMaxHeadDim = 256;
constexpr std::size_t kMaxWidth = std::size_t{1} << 20;  // keeps every product of sizes in range

void require_width(const char* name, std::size_t value) {
  require(value >= 1 && value <= kMaxWidth, std::string(name) + " must be in [1, " +
                                                std::to_string(kMaxWidth) + "], got " +
                                                std::to_string(value));
}

}  // namespace

void SubVitShape::validate() const {
  require_width("image_size", image_size);
  require_width("patch_size", patch_size);
  require_width("embed_dim", embed_dim);
  require_width("head_dim", head_dim);
  require(image_size % patch_size == 0, "patch_size " + std::to_string(patch_size) +
                                            " does not divide image_size " +
                                            std::to_string(image_size));
  require(head_dim <= kMaxHeadDim, "head_dim must be at most " + std::to_string(kMaxHeadDim) +
                                       ", got " + std::to_string(head_dim));
  require(prefix_tokens == 1 || prefix_tokens == 2,
          "prefix_tokens must be 1 or 2, got " + std::to_string(prefix_tokens));
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
