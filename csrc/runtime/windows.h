#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/shape.h"

namespace devit {

// Windows that one task unfolds at a time.
inline constexpr std::size_t kWindowRows = 48;

// Writes what a convolution's kernel sees at outputs [begin, end), numbered along the rows of the
// result, as rows of layer.depth() floats: rows, columns, channels. Padding is zero. The
// convolution is then a linear layer.
//
// Shapes    map: (side, side, in_channels), out: (end - begin, depth)
// Needs     begin <= end <= convolved^2. Nothing outside the shapes is read or written.
// State     none.
void unfold_windows(const ConvLayer& layer, const float* map, std::size_t begin, std::size_t end,
                    float* out);

// The same of raw pixels less `offset`, one number per channel; in_channels is kChannels.
void unfold_windows(const ConvLayer& layer, const std::uint8_t* image, const float* offset,
                    std::size_t begin, std::size_t end, float* out);

}  // namespace devit
