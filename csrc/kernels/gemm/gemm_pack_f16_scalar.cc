#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/gemm/gemm_f16.h"

namespace devit {
namespace {

std::size_t round_up(std::size_t count, std::size_t step) {
  return (count + step - 1) / step * step;
}

}  // namespace

std::size_t rounded_row_f16(std::size_t depth) {
  return round_up(depth, kGemmF16Align / sizeof(Half));
}

std::size_t panel_f16(std::size_t depth, std::size_t tile_cols) {
  return round_up(tile_cols * (sizeof(float) + depth * sizeof(Half)), kGemmF16Align);
}

std::size_t packed_gemm_f16_size(std::size_t depth, std::size_t cols, std::size_t tile_cols) {
  return round_up(cols, tile_cols) / tile_cols * panel_f16(depth, tile_cols);
}

void pack_gemm_f16_weight(const Half* weight, std::size_t depth, std::size_t cols,
                          std::size_t tile_cols, std::byte* panels) {
  for (std::size_t begin = 0; begin < cols; begin += tile_cols) {
    Half* rows = reinterpret_cast<Half*>(panels + tile_cols * sizeof(float));
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t j = 0; j < tile_cols; ++j) {
        const std::size_t col = begin + j;
        rows[k * tile_cols + j] = col < cols ? weight[col * depth + k] : Half{0};
      }
    }
    panels += panel_f16(depth, tile_cols);
  }
}

void pack_gemm_f16_bias(const float* bias, std::size_t depth, std::size_t cols,
                        std::size_t tile_cols, std::byte* panels) {
  for (std::size_t begin = 0; begin < cols; begin += tile_cols) {
    const std::size_t here = std::min(tile_cols, cols - begin);
    std::memcpy(panels, bias + begin, here * sizeof(float));
    std::memset(panels + here * sizeof(float), 0, (tile_cols - here) * sizeof(float));
    panels += panel_f16(depth, tile_cols);
  }
}

float half_limit(const Half* weight, std::size_t size) {
  std::uint16_t largest = 0;  // without its sign, a half's bits order like the half
  for (std::size_t i = 0; i < size; ++i) {
    largest = std::max<std::uint16_t>(largest, weight[i].bits & 0x7fff);
  }
  // Weights are below 2^exponent. Half of the range is left for roundings of the sums.
  const int exponent = std::max(largest >> 10, 1) - 14;
  constexpr int kRange = 15;
  constexpr int kBlock = 6;
  static_assert(kHalfBlock == std::size_t{1} << kBlock);
  return std::ldexp(1.0f, std::min(kRange - kBlock - exponent, kRange));
}

}  // namespace devit
