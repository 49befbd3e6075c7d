#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/shape.h"

namespace devit {

// Windows that one task unfolds at a time.
inline constexpr std::size_t kWindowRows = 48;

// Outputs [begin, end) of a convolution, numbered along the rows of the result, and rows
// [kernel_begin, kernel_end) of its kernel.
struct Windows {
  std::size_t begin;
  std::size_t end;
  std::size_t kernel_begin;
  std::size_t kernel_end;
};

// Writes what these rows of the kernel see at each output as one row of floats: rows, columns,
// channels. Padding is zero. The convolution is then a linear layer.
//
// Shapes    map: (side, side, in_channels)
//           out: (end - begin, (kernel_end - kernel_begin) * row_depth)
// Needs     begin <= end <= convolved^2, kernel_begin <= kernel_end <= kernel_size.
//           Nothing outside the shapes is read or written.
// State     none.
void unfold_windows(const ConvLayer& layer, const float* map, const Windows& windows, float* out);

// Writes the windows of raw pixels less `offset`, one number per channel; in_channels is kChannels.
void unfold_windows(const ConvLayer& layer, const std::uint8_t* image, const float* offset,
                    const Windows& windows, float* out);

}  // namespace devit
