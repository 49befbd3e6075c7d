#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/shape.h"

namespace devit {

// Patches that one task unfolds at a time, at most; Workspace::scratch() has room for them.
inline constexpr std::size_t kPatchRows = 24;

// Writes patches [begin, end) of an image as rows of floats, so that the patch embedding is a
// linear layer. Patches are numbered along the rows of the image; within a patch come rows,
// columns, RGB.
//
//   out[p - begin][(y * patch_size + x) * 3 + c] = image[Y * patch_size + y][X * patch_size + x][c]
//
// with p = Y * grid + X. A pixel's value is taken as it is, 0 to 255.
//
// Shapes    image: (image_size, image_size, 3)
//           out:   (end - begin, patch_dim)
// Needs     begin <= end <= patches; shape.tokenizer is empty. Nothing outside the shapes is read
//           or written.
// State     none: no allocation, no lock, no global.
void unfold_patches(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                    std::size_t end, float* out);

}  // namespace devit
