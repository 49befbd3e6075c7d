#include "kernels/simd/simd_scalar.h"

#include "kernels/gemm/gemm_i8_inl.h"
#include "kernels/gemm/quantize_i8_inl.h"

namespace devit {
namespace {

struct Int16Tile {
  using Activation = std::int16_t;
  using Weight = std::int8_t;
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kCols = 8;

  Int16Tile(const Weight*, std::size_t) {}

  template <std::size_t rows>
  inline void multiply(const Activation* a, std::size_t a_stride, const Weight* weights,
                       std::size_t depth, std::int32_t (&sums)[rows][kCols]) const {
    for (auto& row : sums) {
      for (std::int32_t& sum : row) sum = 0;
    }
    for (std::size_t k = 0; k < depth; ++k, weights += kCols) {
      for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < kCols; ++j) sums[i][j] += a[i * a_stride + k] * weights[j];
      }
    }
  }
};

}  // namespace

void quantize_i8_scalar(const QuantizeI8Args& args) { quantize_rows<std::int16_t>(args); }

void gemm_i8_4x8_scalar(const GemmI8Args& args) { multiply_portion_i8<Int16Tile>(args); }

}  // namespace devit
