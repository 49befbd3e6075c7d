#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/gemm/gemm_i8_inl.h"
#include "kernels/gemm/quantize_i8_inl.h"

namespace devit {
namespace {

using Sums = __m256i;  // eight, of int32, modulo 2^32

inline Sums add_sums(Sums a, Sums b) { return _mm256_add_epi32(a, b); }

inline __m256i load_words(const std::int16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// Half the multiplications, by the inner product of Winograd 1968 ("A New Algorithm for Inner
// Product", IEEE Trans. Computers C-17, eq. 2), on four numbers in a lane:
//
//   (a0 + w2)(a2 + w0) + (a1 + w3)(a3 + w1) = sum_k a_k w_k + (a0 a2 + a1 a3) + (w0 w2 + w1 w3)
//
// What the row has by itself, quantize() sums up; what the column has, the tile's constructor does.
// All is exact modulo 2^32, and the result fits. Where multipliers are as plentiful as adders it
// costs the same as vpmaddwd alone, and it saves nothing; elsewhere it wins. vpmaddubsw would
// saturate unless activations had seven bits.
class WinogradTile {
 public:
  using Activation = std::int16_t;
  using Weight = std::int16_t;
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kVecs = 2;
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kCols = kVecs * kLanes;

  WinogradTile(const Weight* weights, std::size_t depth) {
    for (Sums& sum : products_) sum = _mm256_setzero_si256();
    for (std::size_t k = 0; k + kSingle < depth; k += kStep, weights += kStep * kCols) {
#pragma GCC unroll 4
      for (std::size_t j = 0; j < kVecs; ++j) {
        const __m256i low = load_words(weights + j * kSingle * kLanes);
        const __m256i high = load_words(weights + (kVecs + j) * kSingle * kLanes);
        products_[j] = add_sums(products_[j], _mm256_madd_epi16(low, high));
      }
    }
  }

  template <std::size_t rows>
  inline void multiply(const Activation* a, std::size_t a_stride, const Weight* weights,
                       std::size_t depth, std::int32_t (&sums)[rows][kCols]) const {
    Sums acc[rows][kVecs];
    start<rows>(a, a_stride, weights, depth, acc);
    for (std::size_t k = 0; k + kSingle < depth; k += kStep, weights += kStep * kCols) {
      __m256i w[2 * kVecs];
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 2 * kVecs; ++j) w[j] = load_words(weights + j * kSingle * kLanes);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < rows; ++i) {
        const __m256i low = broadcast_pair(a + i * a_stride + k);
        const __m256i high = broadcast_pair(a + i * a_stride + k + kSingle);
#pragma GCC unroll 4
        for (std::size_t j = 0; j < kVecs; ++j) {
          const __m256i product =
              _mm256_madd_epi16(_mm256_add_epi16(low, w[kVecs + j]), _mm256_add_epi16(high, w[j]));
          acc[i][j] = add_sums(acc[i][j], product);
        }
      }
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (std::size_t j = 0; j < kVecs; ++j) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums[i] + j * kLanes), acc[i][j]);
      }
    }
  }

 private:
  static constexpr std::size_t kSingle = 2;  // numbers of one depth_step of the panel
  static constexpr std::size_t kStep = 4;

  // Two neighbours in every lane.
  static inline __m256i broadcast_pair(const Activation* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
  }

  // What stays out of the loop: the products to be taken off, and the last two numbers of an odd
  // number of steps, which have no partners.
  template <std::size_t rows>
  inline void start(const Activation* a, std::size_t a_stride, const Weight* weights,
                    std::size_t depth, Sums (&acc)[rows][kVecs]) const {
    const std::size_t last = (depth - 1) / kSingle * kSingle;
    const bool odd = last % kStep == 0;
    for (std::size_t i = 0; i < rows; ++i) {
      const Sums own = broadcast_pair(a + (i + 1) * a_stride - kSingle);
      const __m256i x = odd ? broadcast_pair(a + i * a_stride + last) : _mm256_setzero_si256();
#pragma GCC unroll 4
      for (std::size_t j = 0; j < kVecs; ++j) {
        const __m256i w = load_words(weights + last * kCols + j * kSingle * kLanes);
        acc[i][j] = _mm256_sub_epi32(_mm256_madd_epi16(x, w), add_sums(own, products_[j]));
      }
    }
  }

  Sums products_[kVecs];
};

}  // namespace

void quantize_i8_avx2(const QuantizeI8Args& args) {
  quantize_rows<std::int16_t>(args);
  const std::size_t stride = args.q_stride / sizeof(std::int16_t);
  for (std::size_t row = args.row_begin; row < args.row_end; ++row) {
    std::int16_t* q = static_cast<std::int16_t*>(args.q) + row * stride;
    Sums total = _mm256_setzero_si256();
    for (std::size_t k = 0; k < args.depth; k += 16) {
      const __m256i four = load_words(q + k);
      const __m256i partners = _mm256_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1));
      total = add_sums(total, _mm256_madd_epi16(four, partners));
    }
    // Every product stands in two lanes.
    const __m128i half =
        _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    const __m128i one = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
    const std::int32_t products = _mm_cvtsi128_si32(one);
    __builtin_memcpy(q + stride - 2, &products, sizeof(products));
  }
}

void gemm_i8_4x16_avx2(const GemmI8Args& args) { multiply_portion_i8<WinogradTile>(args); }

}  // namespace devit
