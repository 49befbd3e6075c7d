#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/shape.h"

namespace devit {

// Patches that one task unfolds at a time, at most; Workspace::scratch() has room for them.
inline constexpr std::size_t kPatchRows = 24;

// What a pixel loses where it becomes an integer of 8 bits with a sign.
inline constexpr int kPixelOffset = 128;

// Writes patches [begin, end) of an image as rows of floats, so that the patch embedding is a
// linear layer. Patches are numbered along the rows of the image; within a patch come rows,
// columns, RGB.
//
//   out[p - begin][(y * patch_size + x) * 3 + c]
//       = image[Y * patch_size + y][X * patch_size + x][c] - offset
//
// with p = Y * grid + X.
//
// Shapes    image: (image_size, image_size, 3)
//           out:   (end - begin, patch_dim)
// Needs     begin <= end <= patches; shape.tokenizer is empty. Nothing outside the shapes is read
//           or written.
// State     none: no allocation, no lock, no global.
void unfold_patches(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                    std::size_t end, int offset, float* out);

// The same patches as activations of one byte with a scale of 1 (gemm_i8.h). With kPixelOffset less
// the kernel's activation_offset as `offset`, nothing is rounded: a pixel has no more than 8 bits.
//
// Shapes    image: (image_size, image_size, 3)
//           out:   (end - begin, patch_dim), rows `stride` bytes apart, filled up with zeros
// Needs     what unfold_patches() needs.
// State     none: no allocation, no lock, no global.
void unfold_patches_i8(const SubVitShape& shape, const std::uint8_t* image, std::size_t begin,
                       std::size_t end, int offset, std::size_t stride, std::uint8_t* out);

}  // namespace devit
