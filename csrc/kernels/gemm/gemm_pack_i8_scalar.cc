#include <algorithm>
#include <cstring>

#include "kernels/gemm/gemm_i8.h"

namespace devit {
namespace {

std::size_t round_up(std::size_t count, std::size_t step) {
  return (count + step - 1) / step * step;
}

template <typename Weight>
void pack_panel(const std::int8_t* weight, std::size_t depth, std::size_t cols, const GemmI8& gemm,
                Weight* out) {
  const std::size_t step = gemm.depth_step;
  for (std::size_t group = 0; group < depth; group += step) {
    for (std::size_t j = 0; j < gemm.tile_cols; ++j) {
      for (std::size_t k = group; k < group + step; ++k) {
        *out++ = j < cols && k < depth ? weight[j * depth + k] : Weight{0};
      }
    }
  }
}

// One float for each column of a panel, zeros past the last.
void pack_row(const float* values, std::size_t cols, const GemmI8& gemm, std::byte* row) {
  std::memcpy(row, values, cols * sizeof(float));
  std::memset(row + cols * sizeof(float), 0, (gemm.tile_cols - cols) * sizeof(float));
}

// Rows of four bytes for each column before the weights.
std::size_t header_rows(const GemmI8& gemm) { return gemm.activation_offset == 0 ? 2 : 3; }

// What takes the offset of activations off, for each column of a panel; zeros past the last.
void pack_corrections(const std::int8_t* weight, std::size_t depth, std::size_t cols,
                      const GemmI8& gemm, std::byte* row) {
  std::memset(row, 0, gemm.tile_cols * sizeof(std::uint32_t));
  for (std::size_t j = 0; j < cols; ++j) {
    std::uint32_t sum = 0;
    for (std::size_t k = 0; k < depth; ++k)
      sum += static_cast<std::uint32_t>(weight[j * depth + k]);
    const std::uint32_t correction = 0U - static_cast<std::uint32_t>(gemm.activation_offset) * sum;
    std::memcpy(row + j * sizeof(correction), &correction, sizeof(correction));
  }
}

}  // namespace

std::size_t quantized_row_i8(std::size_t depth, const GemmI8& gemm) {
  return round_up(depth * gemm.activation_bytes + sizeof(std::int32_t), kGemmI8Align);
}

std::size_t panel_i8(std::size_t depth, const GemmI8& gemm) {
  const std::size_t weights = round_up(depth, gemm.depth_step) * gemm.weight_bytes;
  return round_up(gemm.tile_cols * (header_rows(gemm) * sizeof(float) + weights), kGemmI8Align);
}

std::size_t packed_gemm_i8_size(std::size_t depth, std::size_t cols, const GemmI8& gemm) {
  return round_up(cols, gemm.tile_cols) / gemm.tile_cols * panel_i8(depth, gemm);
}

void pack_gemm_i8_weight(const std::int8_t* weight, const float* scale, std::size_t depth,
                         std::size_t cols, const GemmI8& gemm, std::byte* panels) {
  const std::size_t row = gemm.tile_cols * sizeof(float);
  for (std::size_t begin = 0; begin < cols; begin += gemm.tile_cols) {
    const std::size_t here = std::min(gemm.tile_cols, cols - begin);
    const std::int8_t* from = weight + begin * depth;
    pack_row(scale + begin, here, gemm, panels + row);
    if (gemm.activation_offset != 0) pack_corrections(from, depth, here, gemm, panels + 2 * row);
    std::byte* to = panels + header_rows(gemm) * row;
    if (gemm.weight_bytes == 1) {
      pack_panel(from, depth, here, gemm, reinterpret_cast<std::int8_t*>(to));
    } else {
      pack_panel(from, depth, here, gemm, reinterpret_cast<std::int16_t*>(to));
    }
    panels += panel_i8(depth, gemm);
  }
}

void pack_gemm_i8_bias(const float* bias, std::size_t depth, std::size_t cols, const GemmI8& gemm,
                       std::byte* panels) {
  for (std::size_t begin = 0; begin < cols; begin += gemm.tile_cols) {
    pack_row(bias + begin, std::min(gemm.tile_cols, cols - begin), gemm, panels);
    panels += panel_i8(depth, gemm);
  }
}

}  // namespace devit
