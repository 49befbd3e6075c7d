#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm_f32.h"

namespace devit {

// Linear layers in integers: weights of 8 bits with a scale per output channel, activations
// quantised per row when they arrive, sums in int32 (dynamic quantisation, symmetric; Jacob et al.
// 2018, eq. 2 with zero points of 0).
//
// A variant owns the layouts of GemmI8 below; quantize() and run() of one variant belong together.

// Quantises rows of activations.
//
//   q[i][k] = round(x[i][k] / scale[i]), scale[i] = max_k |x[i][k]| / L
//
// with L = 127 for activations of one byte. Those of two bytes take as many levels as no sum of
// products can overflow: L = min(32639, floor((2^31 - 1) / (128 depth))), so that a weight can be
// added as well.
//
// Shapes    x: (rows, depth), rows `x_stride` floats apart
//           q: (rows, depth), integers of activation_bytes plus activation_offset, signed unless
//              there is one; rows `q_stride` bytes apart, filled up with zeros; their last four
//              bytes are the variant's own
//           scale: (rows)
// Needs     row_begin < row_end <= rows; 0 < depth <= kMaxGemmI8Depth; q_stride of
//           quantized_row_i8(); x, q, scale do not overlap. Nothing outside the shapes is read or
//           written.
// Accuracy  |x - scale q| <= scale (1/2 + 2^-22 L)
//           A row whose numbers are all below 2^-96 becomes zeros with scale 0. A row that holds a
//           NaN or an infinity becomes zeros with scale NaN, so that all of its results are NaN.
// State     none: no allocation, no lock, no global.
struct QuantizeI8Args {
  const float* x;
  void* q;
  float* scale;
  std::size_t depth;
  std::size_t x_stride;
  std::size_t q_stride;
  std::size_t row_begin;
  std::size_t row_end;
};

// One portion of a linear layer on quantised rows and packed weights.
//
//   out[i][j] = f(bias[j] + a_scale[i] * scale[j] * sum_k a[i][k] * weight[j][k])
//
// with f as in gemm_f32.h; the sum is exact.
//
// Shapes    a, a_scale: q and scale of quantize(), rows `a_stride` bytes apart; activations of one
//           byte may also be any bytes, with zeros to fill up the rows, if no weight is -128;
//           in the formula, activation_offset is taken off
//           out: (rows, cols), rows `out_stride` floats apart
//           panels: see panel_i8(), `panel_stride` bytes apart; `weight` is (cols, depth), `scale`
//           (cols)
// Needs     row_begin < row_end <= rows; panel_begin < panel_end <= ceil(cols / tile_cols);
//           0 < depth <= kMaxGemmI8Depth; out overlaps no input. Nothing outside the shapes is
//           read or written.
// Accuracy  against float64 on the activations before quantisation and on weight * scale:
//           |error| <= e = a_scale (1/2 + 2^-22 L) sum_k |scale weight|
//                          + 2^-22 (|bias| + sum_k |a_scale a scale weight| + |old out|) + 2^-96 W
//           with W = sum_k |scale weight|; with GELU: <= 1.13 e + 2^-24 (16 + y^2 / 2) |GELU(y)|
//           + 1e-36. An element's value does not depend on the portion that computed it.
// State     none: no allocation, no lock, no global. The caller owns threads and tiling.
struct GemmI8Args {
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

struct GemmI8 {
  std::size_t tile_rows;         // portions are best a multiple of this many rows
  std::size_t tile_cols;         // columns in one panel
  std::size_t depth_step;        // neighbours along the depth that lie together in a panel
  std::size_t activation_bytes;  // size of a quantised activation: 1 or 2
  int activation_offset;         // added to it: 0, or 128 for unsigned bytes
  std::size_t weight_bytes;      // size of a packed weight: 1 or 2
  void (*quantize)(const QuantizeI8Args&);
  void (*run)(const GemmI8Args&);
};

// Beyond it, sums of products of bytes could overflow int32.
inline constexpr std::size_t kMaxGemmI8Depth = std::size_t{1} << 17;

inline constexpr std::size_t kGemmI8Align = 64;  // rows and panels start on cache lines

// Bytes from one quantised row to the next: a multiple of kGemmI8Align, at least four more than the
// numbers need.
std::size_t quantized_row_i8(std::size_t depth, const GemmI8& gemm);

// Bytes from one panel to the next, a multiple of kGemmI8Align. A panel is a row of tile_cols
// biases and one of scales, both float; with an activation_offset, a row of int32 that take it off,
// -activation_offset times the sum of the column's weights, modulo 2^32; then the weights, signed
// integers of weight_bytes, as [group of depth_step][column][place in the group]; the depth is
// filled up with zeros.
std::size_t panel_i8(std::size_t depth, const GemmI8& gemm);

// Bytes of ceil(cols / tile_cols) panels. They start on a multiple of kGemmI8Align.
std::size_t packed_gemm_i8_size(std::size_t depth, std::size_t cols, const GemmI8& gemm);

// Writes weights and scales of all panels; columns past the last are zeros. Leaves the biases
// alone.
void pack_gemm_i8_weight(const std::int8_t* weight, const float* scale, std::size_t depth,
                         std::size_t cols, const GemmI8& gemm, std::byte* panels);

// Writes the biases of all panels; leaves all else alone.
void pack_gemm_i8_bias(const float* bias, std::size_t depth, std::size_t cols, const GemmI8& gemm,
                       std::byte* panels);

void quantize_i8_scalar(const QuantizeI8Args& args);  // to int16
void gemm_i8_4x8_scalar(const GemmI8Args& args);

void quantize_i8_avx2(const QuantizeI8Args& args);  // to int16; x86-64 builds only
void gemm_i8_4x16_avx2(const GemmI8Args& args);

void quantize_i8_avx_vnni(const QuantizeI8Args& args);  // to bytes with an offset, as all of VNNI
void gemm_i8_6x16_avx_vnni(const GemmI8Args& args);
void quantize_i8_avx512_vnni(const QuantizeI8Args& args);
void gemm_i8_12x32_avx512_vnni(const GemmI8Args& args);

void quantize_i8_neon(const QuantizeI8Args& args);  // to int8; AArch64 builds only
void gemm_i8_4x16_neon(const GemmI8Args& args);
void gemm_i8_5x16_neon_dotprod(const GemmI8Args& args);
void gemm_i8_4x16_neon_i8mm(const GemmI8Args& args);

}  // namespace devit
