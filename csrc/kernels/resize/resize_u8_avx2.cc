#if !defined(__AVX2__)
#error "compile this file with -mavx2"
#endif

#include <immintrin.h>

#include "kernels/resize/resize_u8_inl.h"

namespace devit {
namespace {

// Sums of products with the weights' high and low factors; eight numbers of 32 bits each.
struct Sums {
  __m256i high = _mm256_setzero_si256();
  __m256i low = _mm256_setzero_si256();
};

// Two weights, their high and low factors in every lane.
struct WeightPair {
  __m256i high;
  __m256i low;
};

inline __m256i pair(const std::int16_t* factors) {
  std::int32_t both;
  __builtin_memcpy(&both, factors, sizeof both);
  return _mm256_set1_epi32(both);
}

inline WeightPair weight_pair(const ResizeFilter& filter, std::size_t at) {
  return {pair(filter.high + at), pair(filter.low + at)};
}

// `inputs` holds pairs of 16 bits, one for each of the two weights.
inline void accumulate(Sums& sums, __m256i inputs, const WeightPair& weights) {
  sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(inputs, weights.high));
  sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(inputs, weights.low));
}

inline __m256i rounded(const Sums& sums) {
  const __m256i half = _mm256_set1_epi32(1 << (kResizeWeightBits - 1));
  const __m256i whole = _mm256_add_epi32(_mm256_slli_epi32(sums.high, kResizeLowBits), sums.low);
  return _mm256_srai_epi32(_mm256_add_epi32(whole, half), kResizeWeightBits);
}

// Two pixels of the upper and two of the lower row -> their bytes in pairs, 16 bits each. kFirst is
// the first of them among four.
template <char kFirst>
inline __m256i pixel_pairs(__m256i rows) {
  constexpr char k = 4 * kFirst;
  constexpr char kNone = -1;
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(k, kNone, k + 4, kNone, k + 1, kNone, k + 5, kNone, k + 2, kNone, k + 6, kNone,
                    k + 3, kNone, k + 7, kNone));
  return _mm256_shuffle_epi8(rows, order);
}

inline __m256i both(__m128i upper, __m128i lower) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(upper), lower, 1);
}

inline __m128i sixteen_bytes(const std::uint8_t* in) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
}

inline __m128i two_pixels(const std::uint8_t* in) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in));
}

inline __m128i one_pixel(const std::uint8_t* in) {
  std::int32_t bytes;
  __builtin_memcpy(&bytes, in, sizeof bytes);
  return _mm_cvtsi32_si128(bytes);
}

inline void store_pixel(std::uint8_t* out, int bytes) { __builtin_memcpy(out, &bytes, 3); }

// Stores a pixel of the upper and one of the lower row.
inline void store_column(const Sums& sums, std::uint8_t* upper, std::uint8_t* lower) {
  const __m256i words = _mm256_packs_epi32(rounded(sums), _mm256_setzero_si256());
  const __m256i bytes = _mm256_packus_epi16(words, words);
  store_pixel(upper, _mm256_extract_epi32(bytes, 0));
  store_pixel(lower, _mm256_extract_epi32(bytes, 4));
}

// One column of four rows from `in` on.
inline void column_of_four_rows(const ResizeColumnsArgs& args, const std::uint8_t* in,
                                std::uint8_t* out, std::size_t col) {
  const std::uint8_t* row[4] = {in, in + args.in_stride, in + 2 * args.in_stride,
                                in + 3 * args.in_stride};
  const std::size_t count = args.filter.count[col];
  const std::size_t at = col * args.filter.taps;
  std::size_t byte = 4 * args.filter.begin[col];
  Sums top, bottom;
  std::size_t tap = 0;
  for (; tap + 4 <= count; tap += 4, byte += 16) {
    const __m256i upper = both(sixteen_bytes(row[0] + byte), sixteen_bytes(row[1] + byte));
    const __m256i lower = both(sixteen_bytes(row[2] + byte), sixteen_bytes(row[3] + byte));
    const WeightPair first = weight_pair(args.filter, at + tap);
    accumulate(top, pixel_pairs<0>(upper), first);
    accumulate(bottom, pixel_pairs<0>(lower), first);
    const WeightPair second = weight_pair(args.filter, at + tap + 2);
    accumulate(top, pixel_pairs<2>(upper), second);
    accumulate(bottom, pixel_pairs<2>(lower), second);
  }
  for (; tap + 2 <= count; tap += 2, byte += 8) {
    const __m256i upper = both(two_pixels(row[0] + byte), two_pixels(row[1] + byte));
    const __m256i lower = both(two_pixels(row[2] + byte), two_pixels(row[3] + byte));
    const WeightPair weights = weight_pair(args.filter, at + tap);
    accumulate(top, pixel_pairs<0>(upper), weights);
    accumulate(bottom, pixel_pairs<0>(lower), weights);
  }
  if (tap < count) {
    const __m256i upper = both(one_pixel(row[0] + byte), one_pixel(row[1] + byte));
    const __m256i lower = both(one_pixel(row[2] + byte), one_pixel(row[3] + byte));
    const WeightPair weights = weight_pair(args.filter, at + tap);
    accumulate(top, pixel_pairs<0>(upper), weights);
    accumulate(bottom, pixel_pairs<0>(lower), weights);
  }
  std::uint8_t* pixel = out + 3 * col;
  store_column(top, pixel, pixel + args.out_stride);
  store_column(bottom, pixel + 2 * args.out_stride, pixel + 3 * args.out_stride);
}

// Sixteen bytes of one output row.
inline void sixteen_of_a_row(const ResizeRowsArgs& args, const std::uint8_t* in, std::uint8_t* out,
                             std::size_t row) {
  const std::size_t count = args.filter.count[row];
  const std::size_t at = row * args.filter.taps;
  Sums left, right;
  for (std::size_t tap = 0; tap < count; tap += 2) {
    const std::uint8_t* upper = in + tap * args.in_stride;
    // The second weight of an odd last pair is 0, so any row will do.
    const std::uint8_t* lower = tap + 1 < count ? upper + args.in_stride : upper;
    const __m128i a = sixteen_bytes(upper), b = sixteen_bytes(lower);
    const WeightPair weights = weight_pair(args.filter, at + tap);
    accumulate(left, _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), weights);
    accumulate(right, _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b)), weights);
  }
  const __m256i words = _mm256_packs_epi32(rounded(left), rounded(right));  // by halves
  const __m256i bytes = _mm256_packus_epi16(words, words);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
  const __m256i sorted = _mm256_permutevar8x32_epi32(bytes, order);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(sorted));
}

}  // namespace

void resize_columns_u8_avx2(const ResizeColumnsArgs& args) {
  const std::size_t whole = args.rows - args.rows % 4;
  for (std::size_t row = 0; row < whole; row += 4) {
    const std::uint8_t* in = args.in + row * args.in_stride;
    std::uint8_t* out = args.out + row * args.out_stride;
    for (std::size_t col = 0; col < args.cols; ++col) column_of_four_rows(args, in, out, col);
  }
  resize_columns_plain(args, whole, args.rows);
}

void resize_rows_u8_avx2(const ResizeRowsArgs& args) {
  const std::size_t whole = args.bytes - args.bytes % 16;
  for (std::size_t row = 0; row < args.rows; ++row) {
    const std::uint8_t* in = args.in + args.filter.begin[row] * args.in_stride;
    for (std::size_t at = 0; at < whole; at += 16) {
      sixteen_of_a_row(args, in + at, args.out + row * args.bytes + at, row);
    }
    resize_row_plain(args, row, whole);
  }
}

}  // namespace devit
