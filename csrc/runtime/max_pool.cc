#include "runtime/max_pool.h"

#include <algorithm>

namespace devit {

void max_pool_row(const float* map, std::size_t side, std::size_t channels, std::size_t row,
                  float* out) {
  const std::size_t top = row == 0 ? 0 : 2 * row - 1;
  const std::size_t bottom = std::min(2 * row + 2, side);
  for (std::size_t x = 0; 2 * x < side; ++x, out += channels) {
    const std::size_t left = x == 0 ? 0 : 2 * x - 1;
    const std::size_t right = std::min(2 * x + 2, side);
    float* __restrict best = out;
    std::fill_n(best, channels, 0.0f);
    for (std::size_t i = top; i < bottom; ++i) {
      for (std::size_t j = left; j < right; ++j) {
        const float* pixel = map + (i * side + j) * channels;
        for (std::size_t c = 0; c < channels; ++c)
          best[c] = pixel[c] > best[c] ? pixel[c] : best[c];
      }
    }
  }
}

}  // namespace devit
