#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/resize/resize_u8.h"

namespace devit {

// One axis: `full` outputs would cover the inputs [0, extent); [begin, begin + count) are wanted.
struct ResizeAxis {
  std::size_t size;  // inputs
  double extent;     // at most `size`: the last input may lie partly outside of the picture
  std::size_t full;
  std::size_t begin;
  std::size_t count;
};

// How the weight of an input falls with its distance from an output.
enum class Interpolation {
  kBicubic,   // Keys 1981, eq. (4), a = -1/2; inputs within a distance of 2
  kBilinear,  // 1 - distance; inputs within a distance of 1
};

// A window of a picture resized by an interpolation that widens with the scale, so that nothing
// aliases: what Pillow's resize(BICUBIC) or resize(BILINEAR) of the columns, then of the rows,
// gives, cut to the window. Only what the window needs is computed.
//
// Shapes    in:  (rows.size, cols.size, 4), RGB and a fourth byte that is not looked at
//           out: (rows.count, cols.count, 3)
// Needs     sizes and counts > 0; size - 1 < extent <= size; begin + count <= full. Throws
//           std::invalid_argument if not.
// Accuracy  Pillow's bytes, if the compiler of Pillow rounded each product of its weights, as for
//           x86-64; otherwise a weight may differ by 2^-22 and a byte, seldom, by 1.
// State     none; allocates the weights and what lies between the passes.
void resize_window(const ResizeU8& kernels, const std::uint8_t* in, std::uint8_t* out,
                   const ResizeAxis& rows, const ResizeAxis& cols, Interpolation interpolation);

}  // namespace devit
