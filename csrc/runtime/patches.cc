#include "runtime/patches.h"

#include <cstring>

namespace devit {
namespace {

// Writes patches as rows of numbers, `stride` apart.
template <typename Element>
void unfold(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin, std::size_t end,
            int offset, std::size_t stride, Element* out) {
  const std::size_t image_row = shape.image_size * kChannels;
  const std::size_t patch_row = shape.patch_size * kChannels;
  for (std::size_t patch = begin; patch < end; ++patch, out += stride) {
    const std::uint8_t* corner = image + patch / shape.grid() * shape.patch_size * image_row +
                                 patch % shape.grid() * patch_row;
    Element* to = out;
    for (std::size_t row = 0; row < shape.patch_size; ++row, to += patch_row) {
      const std::uint8_t* pixels = corner + row * image_row;
      for (std::size_t i = 0; i < patch_row; ++i) to[i] = static_cast<Element>(pixels[i] - offset);
    }
  }
}

}  // namespace

void unfold_patches(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                    std::size_t end, int offset, float* out) {
  unfold(shape, image, begin, end, offset, shape.patch_dim(), out);
}

void unfold_patches_i8(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                       std::size_t end, int offset, std::size_t stride, std::uint8_t* out) {
  std::memset(out, 0, (end - begin) * stride);
  unfold(shape, image, begin, end, offset, stride, out);
}

}  // namespace devit
