#pragma once

#include <cstddef>
#include <cstdint>

namespace devit {

// Antialiased resize of 8-bit images: the two passes of Pillow's, bit for bit.
//
//   out[j] = clamp((sum_t weights[j][t] * in[begin_j + t] + 2^21) >> 22, 0, 255)
//
// along columns, then along rows; what lies between the passes is 8-bit too, as in Pillow. Sums are
// whole numbers, so every instruction set gives the same bytes.

// The weights of one pass, in units of 2^-22. Weight t of output j, t < taps, is
//   high[j * taps + t] * 2^12 + low[j * taps + t],   0 <= low < 2^12:
// two factors of 16 bits each, because those have the fast multiply-adds.
struct ResizeFilter {
  const std::uint32_t* begin;  // first input of each output
  const std::uint32_t* count;  // inputs of each output, 0 < count <= taps; weights beyond are 0
  const std::int16_t* high;
  const std::int16_t* low;
  std::size_t taps;  // even
};

inline constexpr int kResizeWeightBits = 22;
inline constexpr int kResizeLowBits = 12;

// Columns: out[i][j] from row i of `in`, for i < rows and each of `cols` outputs of the filter.
//
// Shapes    in:  (rows, any, 4), a fourth byte that is not looked at, rows `in_stride` bytes apart
//           out: (rows, cols, 3), rows `out_stride` bytes apart
// Needs     rows > 0, cols > 0, sums of |weights| below 2^31 / 255; out overlaps nothing.
//           Nothing outside the shapes is written, nothing outside the filter's inputs read.
struct ResizeColumnsArgs {
  const std::uint8_t* in;
  std::uint8_t* out;
  ResizeFilter filter;
  std::size_t rows;
  std::size_t cols;
  std::size_t in_stride;
  std::size_t out_stride;
};

// Rows: out[i] from the rows of `in` that output i of the filter names.
//
// Shapes    in:  (any, bytes), rows `in_stride` bytes apart;  out: (rows, bytes), without gaps
// Needs     as above
struct ResizeRowsArgs {
  const std::uint8_t* in;
  std::uint8_t* out;
  ResizeFilter filter;
  std::size_t rows;
  std::size_t bytes;
  std::size_t in_stride;
};

struct ResizeU8 {
  void (*columns)(const ResizeColumnsArgs&);
  void (*rows)(const ResizeRowsArgs&);
};

void resize_columns_u8_scalar(const ResizeColumnsArgs& args);
void resize_rows_u8_scalar(const ResizeRowsArgs& args);
void resize_columns_u8_avx2(const ResizeColumnsArgs& args);  // x86-64 builds only
void resize_rows_u8_avx2(const ResizeRowsArgs& args);
void resize_columns_u8_neon(const ResizeColumnsArgs& args);  // AArch64 builds only
void resize_rows_u8_neon(const ResizeRowsArgs& args);

}  // namespace devit
