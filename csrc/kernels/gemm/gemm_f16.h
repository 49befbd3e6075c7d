#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm_f32.h"

namespace devit {

// Linear layers on weights of 16 bits (IEEE 754 binary16, "halves"), in one of two arithmetics:
//
// - float32, where `round` is null: activations are floats, and so are the weights when they are
//   multiplied. The result is the one of gemm_f32 in the same row of the registry, bit for bit.
// - halves: round() makes halves of the activations, products are summed in halves over
//   kHalfBlock numbers at most, and these sums in float32.
struct Half {
  std::uint16_t bits;
};

inline constexpr std::size_t kHalfBlock = 64;

// Makes halves of rows of activations.
//
//   q[i][k] = x[i][k] / scale[i] to the nearest half
//
// with the power of two scale[i] that brings the row's largest magnitude to limit / 2 or more, and
// none above `limit`.
//
// Shapes    x: (rows, depth), rows `x_stride` floats apart
//           q: (rows, depth), rows `q_stride` halves apart
//           scale: (rows)
// Needs     row_begin < row_end <= rows; limit of half_limit(); x, q, scale do not overlap.
//           Nothing outside the shapes is read or written.
// Accuracy  |x - scale q| <= 2^-11 |x| + 2^-25 scale
//           A row whose numbers are all below 2^-96 becomes zeros with scale 0. A row that holds a
//           NaN, or a number of 2^96 or more, becomes zeros with scale NaN, so that all of its
//           results are NaN.
// State     none: no allocation, no lock, no global.
struct RoundF16Args {
  const float* x;
  Half* q;
  float* scale;
  std::size_t depth;
  std::size_t x_stride;
  std::size_t q_stride;
  std::size_t row_begin;
  std::size_t row_end;
  float limit;
};

// One portion of a linear layer on packed halves.
//
//   out[i][j] = f(bias[j] + a_scale[i] * sum_k a[i][k] * weight[j][k])
//
// with f as in gemm_f32.h; without a_scale in float32.
//
// Shapes    a: (rows, depth), rows `a_stride` numbers apart: floats, or q of round()
//           a_scale: scale of round(); not read in float32
//           out: (rows, cols), rows `out_stride` floats apart
//           panels: see panel_f16(), `panel_stride` bytes apart; `weight` is (cols, depth), finite
// Needs     row_begin < row_end <= rows; panel_begin < panel_end <= ceil(cols / tile_cols);
//           depth > 0; out overlaps no input. Nothing outside the shapes is read or written.
// Accuracy  in float32, that of gemm_f32.h. In halves, against float64 on the activations before
//           rounding: |error| <= e = 2^-11 (1.02 B + 2) S + 2^-25 a_scale (W + 1.04 depth)
//                                    + 2^-23 (depth / B + 3) (|bias| + S + |old out|)
//           with S = sum_k |a w|, W = sum_k |w|, B = min(depth, kHalfBlock); with GELU:
//           <= 1.13 e + 2^-24 (4 min(|y|, 5.3) + |GELU(y)|) + 2^-148. Nothing overflows.
//           In both, an element's value does not depend on the portion that computed it.
// State     none: no allocation, no lock, no global. The caller owns threads and tiling.
struct GemmF16Args {
  const void* a;
  const float* a_scale;
  const std::byte* panels;
  float* out;
  std::size_t depth;
  std::size_t cols;
  std::size_t a_stride;
  std::size_t panel_stride;
  std::size_t out_stride;
  std::size_t row_begin;
  std::size_t row_end;
  std::size_t panel_begin;
  std::size_t panel_end;
  Epilogue epilogue;
};

struct GemmF16 {
  std::size_t tile_rows;               // portions are best a multiple of this many rows
  std::size_t tile_cols;               // columns in one panel
  void (*round)(const RoundF16Args&);  // null: computes in float32
  void (*run)(const GemmF16Args&);
};

inline constexpr std::size_t kGemmF16Align = 64;  // rows of halves and panels start on cache lines

// Halves from one rounded row to the next.
std::size_t rounded_row_f16(std::size_t depth);

// Bytes from one panel to the next: a row of tile_cols biases, float, and `depth` rows, each of
// tile_cols weights.
std::size_t panel_f16(std::size_t depth, std::size_t tile_cols);

// Bytes of ceil(cols / tile_cols) panels. They start on a multiple of kGemmF16Align.
std::size_t packed_gemm_f16_size(std::size_t depth, std::size_t cols, std::size_t tile_cols);

// Writes the weights of all panels from `weight` (cols, depth); columns past the last are zeros.
// Leaves the biases alone.
void pack_gemm_f16_weight(const Half* weight, std::size_t depth, std::size_t cols,
                          std::size_t tile_cols, std::byte* panels);

// Writes the biases of all panels; leaves the weights alone.
void pack_gemm_f16_bias(const float* bias, std::size_t depth, std::size_t cols,
                        std::size_t tile_cols, std::byte* panels);

// A limit of rounded activations for so many weights: the largest power of two, at most 2^15, with
// which no sum of kHalfBlock products leaves the range of halves. At least 2^-7.
float half_limit(const Half* weight, std::size_t size);

void gemm_f16_4x8_scalar(const GemmF16Args& args);
void gemm_f16_6x16_avx2(const GemmF16Args& args);  // x86-64 builds only
void gemm_f16_12x32_avx512(const GemmF16Args& args);
void gemm_f16_5x16_neon(const GemmF16Args& args);  // AArch64 builds only

void round_f16_neon_fp16(const RoundF16Args& args);
void gemm_f16_8x16_neon_fp16(const GemmF16Args& args);  // in halves

}  // namespace devit
