#pragma once

#include "kernels/resize/resize_u8.h"

// What every instruction set does with what its vectors leave over.
namespace devit {
namespace {

inline std::int32_t resize_weight(const ResizeFilter& filter, std::size_t output, std::size_t tap) {
  const std::size_t at = output * filter.taps + tap;
  return filter.high[at] * (1 << kResizeLowBits) + filter.low[at];
}

inline std::uint8_t resize_rounded(std::int32_t sum) {
  const std::int32_t value = (sum + (1 << (kResizeWeightBits - 1))) >> kResizeWeightBits;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// Rows [row_begin, row_end).
inline void resize_columns_plain(const ResizeColumnsArgs& args, std::size_t row_begin,
                                 std::size_t row_end) {
  for (std::size_t row = row_begin; row < row_end; ++row) {
    for (std::size_t col = 0; col < args.cols; ++col) {
      const std::uint8_t* in = args.in + row * args.in_stride + 4 * args.filter.begin[col];
      std::int32_t red = 0, green = 0, blue = 0;
      for (std::size_t tap = 0; tap < args.filter.count[col]; ++tap) {
        const std::int32_t weight = resize_weight(args.filter, col, tap);
        red += weight * in[4 * tap];
        green += weight * in[4 * tap + 1];
        blue += weight * in[4 * tap + 2];
      }
      std::uint8_t* out = args.out + row * args.out_stride + 3 * col;
      out[0] = resize_rounded(red);
      out[1] = resize_rounded(green);
      out[2] = resize_rounded(blue);
    }
  }
}

// Bytes [begin, args.bytes) of one row.
inline void resize_row_plain(const ResizeRowsArgs& args, std::size_t row, std::size_t begin) {
  const std::uint8_t* in = args.in + args.filter.begin[row] * args.in_stride;
  for (std::size_t at = begin; at < args.bytes; ++at) {
    std::int32_t sum = 0;
    for (std::size_t tap = 0; tap < args.filter.count[row]; ++tap) {
      sum += resize_weight(args.filter, row, tap) * in[tap * args.in_stride + at];
    }
    args.out[row * args.bytes + at] = resize_rounded(sum);
  }
}

}  // namespace
}  // namespace devit
