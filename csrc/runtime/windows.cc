#include "runtime/windows.h"

#include <algorithm>

namespace devit {
namespace {

// `copy(pixel, count, out)` writes `count` neighbours in a row of the map, from number `pixel`.
template <typename Copy>
void unfold(const ConvLayer& layer, const Windows& windows, float* out, const Copy& copy) {
  const auto [channels, kernel, stride, padding] = layer.conv;
  const std::size_t convolved = layer.convolved();
  const std::size_t row_size = layer.row_depth();
  for (std::size_t window = windows.begin; window < windows.end; ++window) {
    // Corner and end in the padded map, where nothing is negative.
    const std::size_t top = window / convolved * stride;
    const std::size_t left = window % convolved * stride;
    const std::size_t first = std::clamp(padding, left, left + kernel);
    const std::size_t last = std::clamp(padding + layer.side, first, left + kernel);
    for (std::size_t row = windows.kernel_begin; row < windows.kernel_end; ++row, out += row_size) {
      const std::size_t y = top + row;
      if (y < padding || y >= padding + layer.side || first == last) {
        std::fill_n(out, row_size, 0.0f);
        continue;
      }
      const std::size_t before = (first - left) * layer.in_channels;
      const std::size_t inside = (last - first) * layer.in_channels;
      std::fill_n(out, before, 0.0f);
      copy((y - padding) * layer.side + first - padding, last - first, out + before);
      std::fill_n(out + before + inside, row_size - before - inside, 0.0f);
    }
  }
}

}  // namespace

void unfold_windows(const ConvLayer& layer, const float* map, const Windows& windows, float* out) {
  const std::size_t channels = layer.in_channels;
  unfold(layer, windows, out, [&](std::size_t pixel, std::size_t count, float* to) {
    std::copy_n(map + pixel * channels, count * channels, to);
  });
}

void unfold_windows(const ConvLayer& layer, const std::uint8_t* image, const float* offset,
                    const Windows& windows, float* out) {
  const float red = offset[0], green = offset[1], blue = offset[2];
  unfold(layer, windows, out, [=](std::size_t pixel, std::size_t count, float* to) {
    const std::uint8_t* from = image + pixel * kChannels;
    for (std::size_t i = 0; i < count; ++i, from += kChannels, to += kChannels) {
      to[0] = static_cast<float>(from[0]) - red;
      to[1] = static_cast<float>(from[1]) - green;
      to[2] = static_cast<float>(from[2]) - blue;
    }
  });
}

}  // namespace devit
