#include "kernels/gemm_f32.h"

namespace devit {

std::size_t packed_gemm_f32_size(std::size_t depth, std::size_t cols, std::size_t tile_cols) {
  return (cols + tile_cols - 1) / tile_cols * tile_cols * (depth + 1);
}

void pack_gemm_f32_weight(const float* weight, std::size_t depth, std::size_t cols,
                          std::size_t tile_cols, float* panels) {
  for (std::size_t begin = 0; begin < cols; begin += tile_cols) {
    float* rows = panels + begin * (depth + 1) + tile_cols;
    for (std::size_t k = 0; k < depth; ++k) {
      for (std::size_t j = 0; j < tile_cols; ++j) {
        const std::size_t col = begin + j;
        rows[k * tile_cols + j] = col < cols ? weight[col * depth + k] : 0.0f;
      }
    }
  }
}

void pack_gemm_f32_bias(const float* bias, std::size_t depth, std::size_t cols,
                        std::size_t tile_cols, float* panels) {
  for (std::size_t begin = 0; begin < cols; begin += tile_cols) {
    for (std::size_t j = 0; j < tile_cols; ++j) {
      panels[begin * (depth + 1) + j] = begin + j < cols ? bias[begin + j] : 0.0f;
    }
  }
}

}  // namespace devit
