#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/shape.h"

namespace devit {

// Patches that one task unfolds at a time.
inline constexpr std::size_t kPatchRows = 24;

// Writes patches [begin, end) as float rows of patch_dim: row by row, column by column, RGB.
// `image` is (image_size, image_size, 3); patches are numbered along the rows of the image.
void unfold_patches(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                    std::size_t end, float* out);

}  // namespace devit
