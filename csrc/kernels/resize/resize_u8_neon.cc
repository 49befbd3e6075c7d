#include <arm_neon.h>

#include "kernels/resize/resize_u8_inl.h"

namespace devit {
namespace {

// Sums of products with the weights' high and low factors; four numbers of 32 bits each.
struct Sums {
  int32x4_t high = vdupq_n_s32(0);
  int32x4_t low = vdupq_n_s32(0);
};

inline void accumulate(Sums& sums, int16x4_t inputs, const ResizeFilter& filter, std::size_t at) {
  sums.high = vmlal_n_s16(sums.high, inputs, filter.high[at]);
  sums.low = vmlal_n_s16(sums.low, inputs, filter.low[at]);
}

inline int16x4_t rounded(const Sums& sums) {
  const int32x4_t whole = vaddq_s32(vshlq_n_s32(sums.high, kResizeLowBits), sums.low);
  return vqmovn_s32(vrshrq_n_s32(whole, kResizeWeightBits));
}

inline int16x8_t widened(uint8x8_t bytes) { return vreinterpretq_s16_u16(vmovl_u8(bytes)); }

inline uint8x8_t one_pixel(const std::uint8_t* in) {
  std::uint32_t bytes;
  __builtin_memcpy(&bytes, in, sizeof bytes);
  return vreinterpret_u8_u32(vdup_n_u32(bytes));
}

inline void column_of_a_row(const ResizeColumnsArgs& args, const std::uint8_t* row,
                            std::uint8_t* out, std::size_t col) {
  const std::uint8_t* in = row + 4 * args.filter.begin[col];
  const std::size_t count = args.filter.count[col];
  const std::size_t at = col * args.filter.taps;
  Sums even, odd;
  std::size_t tap = 0;
  for (; tap + 2 <= count; tap += 2) {
    const int16x8_t pixels = widened(vld1_u8(in + 4 * tap));
    accumulate(even, vget_low_s16(pixels), args.filter, at + tap);
    accumulate(odd, vget_high_s16(pixels), args.filter, at + tap + 1);
  }
  if (tap < count) {
    accumulate(even, vget_low_s16(widened(one_pixel(in + 4 * tap))), args.filter, at + tap);
  }
  const Sums sums{vaddq_s32(even.high, odd.high), vaddq_s32(even.low, odd.low)};
  const int16x4_t words = rounded(sums);
  const uint8x8_t bytes = vqmovun_s16(vcombine_s16(words, words));
  const std::uint32_t pixel = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  __builtin_memcpy(out + 3 * col, &pixel, 3);
}

// Eight bytes of one output row.
inline void eight_of_a_row(const ResizeRowsArgs& args, const std::uint8_t* in, std::uint8_t* out,
                           std::size_t row) {
  const std::size_t at = row * args.filter.taps;
  Sums left, right;
  for (std::size_t tap = 0; tap < args.filter.count[row]; ++tap) {
    const int16x8_t values = widened(vld1_u8(in + tap * args.in_stride));
    accumulate(left, vget_low_s16(values), args.filter, at + tap);
    accumulate(right, vget_high_s16(values), args.filter, at + tap);
  }
  vst1_u8(out, vqmovun_s16(vcombine_s16(rounded(left), rounded(right))));
}

}  // namespace

void resize_columns_u8_neon(const ResizeColumnsArgs& args) {
  for (std::size_t row = 0; row < args.rows; ++row) {
    for (std::size_t col = 0; col < args.cols; ++col) {
      column_of_a_row(args, args.in + row * args.in_stride, args.out + row * args.out_stride, col);
    }
  }
}

void resize_rows_u8_neon(const ResizeRowsArgs& args) {
  const std::size_t whole = args.bytes - args.bytes % 8;
  for (std::size_t row = 0; row < args.rows; ++row) {
    const std::uint8_t* in = args.in + args.filter.begin[row] * args.in_stride;
    for (std::size_t at = 0; at < whole; at += 8) {
      eight_of_a_row(args, in + at, args.out + row * args.bytes + at, row);
    }
    resize_row_plain(args, row, whole);
  }
}

}  // namespace devit
