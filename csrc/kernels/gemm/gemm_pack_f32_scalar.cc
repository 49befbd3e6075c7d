#include "kernels/gemm/gemm_f32.h"

namespace devit {
namespace {

constexpr std::size_t kSide = 4;

// to[k][j] = from[j][k], kSide of each: in vectors of the compiler's, as the base architecture has
// them, loading a network takes half the time.
void transpose(const float* from, std::size_t from_stride, float* to, std::size_t to_stride) {
  using Row = float __attribute__((vector_size(kSide * sizeof(float))));
  Row row[kSide];
  for (std::size_t j = 0; j < kSide; ++j) {
    __builtin_memcpy(&row[j], from + j * from_stride, sizeof(Row));
  }
  const Row even_low = __builtin_shufflevector(row[0], row[2], 0, 4, 1, 5);
  const Row even_high = __builtin_shufflevector(row[0], row[2], 2, 6, 3, 7);
  const Row odd_low = __builtin_shufflevector(row[1], row[3], 0, 4, 1, 5);
  const Row odd_high = __builtin_shufflevector(row[1], row[3], 2, 6, 3, 7);
  const Row column[kSide] = {__builtin_shufflevector(even_low, odd_low, 0, 4, 1, 5),
                             __builtin_shufflevector(even_low, odd_low, 2, 6, 3, 7),
                             __builtin_shufflevector(even_high, odd_high, 0, 4, 1, 5),
                             __builtin_shufflevector(even_high, odd_high, 2, 6, 3, 7)};
  for (std::size_t k = 0; k < kSide; ++k) {
    __builtin_memcpy(to + k * to_stride, &column[k], sizeof(Row));
  }
}

}  // namespace

std::size_t packed_gemm_f32_size(std::size_t depth, std::size_t cols, std::size_t tile_cols) {
  return (cols + tile_cols - 1) / tile_cols * tile_cols * (depth + 1);
}

void pack_gemm_f32_weight(const float* weight, std::size_t depth, std::size_t cols,
                          std::size_t tile_cols, float* panels) {
  for (std::size_t begin = 0; begin < cols; begin += tile_cols) {
    float* rows = panels + begin * (depth + 1) + tile_cols;
    for (std::size_t j = 0; j < tile_cols; j += kSide) {
      const std::size_t end = j + kSide;
      const std::size_t whole = end <= tile_cols && begin + end <= cols ? depth / kSide * kSide : 0;
      const float* from = weight + (begin + j) * depth;
      for (std::size_t k = 0; k < whole; k += kSide) {
        transpose(from + k, depth, rows + k * tile_cols + j, tile_cols);
      }
      for (std::size_t col = j; col < end && col < tile_cols; ++col) {
        const bool real = begin + col < cols;
        for (std::size_t k = whole; k < depth; ++k) {
          rows[k * tile_cols + col] = real ? weight[(begin + col) * depth + k] : 0.0f;
        }
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
