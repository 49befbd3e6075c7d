#include "runtime/patches.h"

namespace devit {

void unfold_patches(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                    std::size_t end, float* out) {
  const std::size_t image_row = shape.image_size * kChannels;
  const std::size_t patch_row = shape.patch_size * kChannels;
  for (std::size_t patch = begin; patch < end; ++patch) {
    const std::uint8_t* corner = image + patch / shape.grid() * shape.patch_size * image_row +
                                 patch % shape.grid() * patch_row;
    for (std::size_t row = 0; row < shape.patch_size; ++row, out += patch_row) {
      const std::uint8_t* pixels = corner + row * image_row;
      for (std::size_t i = 0; i < patch_row; ++i) out[i] = static_cast<float>(pixels[i]);
    }
  }
}

}  // namespace devit
