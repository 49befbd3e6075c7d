#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd_avx2.h"

#include "kernels/gemm_i8_inl.h"
#include "kernels/quantize_i8_inl.h"

namespace devit {
namespace {

// vpmaddwd on activations of two bytes: as many multiply-adds per multiplier as vpmaddubsw followed
// by vpmaddwd, which would saturate unless the activations had seven bits.
struct PairTile {
  using Activation = std::int16_t;
  using Weight = std::int8_t;
  static constexpr std::size_t kRows = 6;
  static constexpr std::size_t kVecs = 2;
  static constexpr std::size_t kLanes = 8;  // sums in a vector
  static constexpr std::size_t kCols = kVecs * kLanes;
  static constexpr std::size_t kStep = 2;

  static inline __m256i load_weights(const Weight* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  // Two neighbours in every lane.
  static inline __m256i broadcast_pair(const Activation* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
  }

  template <std::size_t rows>
  static inline void multiply(const Activation* a, std::size_t a_stride, const Weight* weights,
                              std::size_t depth, std::int32_t (&sums)[rows][kCols]) {
    __m256i acc[rows][kVecs];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) acc[i][j] = _mm256_setzero_si256();
    }
    for (std::size_t k = 0; k < depth; k += kStep, weights += kCols * kStep) {
      __m256i w[kVecs];
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) w[j] = load_weights(weights + j * kLanes * kStep);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < rows; ++i) {
        const __m256i x = broadcast_pair(a + i * a_stride + k);
#pragma GCC unroll 16
        for (std::size_t j = 0; j < kVecs; ++j) {
          acc[i][j] = _mm256_add_epi32(acc[i][j], _mm256_madd_epi16(x, w[j]));
        }
      }
    }
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 16
      for (std::size_t j = 0; j < kVecs; ++j) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[i] + j * kLanes), acc[i][j]);
      }
    }
  }
};

}  // namespace

void quantize_i8_avx2(const QuantizeI8Args& args) { quantize_rows<std::int16_t>(args); }

void gemm_i8_6x16_avx2(const GemmI8Args& args) { multiply_portion_i8<PairTile>(args); }

}  // namespace devit
