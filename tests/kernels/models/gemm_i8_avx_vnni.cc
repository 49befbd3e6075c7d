// The int8 kernel of the row avx_vnni as a library by itself, with whatever stands for vpdpbusd.
//
// MODEL     the header vpdpbusd.h
// AVX512VL  the same instruction in the encoding of AVX-512, on 256 bits
// neither   the instruction itself
#if defined(MODEL)
#include "vpdpbusd.h"
#elif defined(AVX512VL)
#include <immintrin.h>
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#endif
#if !defined(__AVXVNNI__)
#define __AVXVNNI__ 1
#endif

#include "base/aligned_buffer.h"
#include "kernels/gemm/gemm_i8_6x16_avx_vnni.cc"
#include "kernels/gemm/gemm_pack_i8_scalar.cc"

// What gemm_i8() of the Python module does in this row.
extern "C" void gemm_i8(const float* a, const std::int8_t* weight, const float* scale,
                        const float* bias, float* out, std::size_t rows, std::size_t depth,
                        std::size_t cols) {
  const devit::GemmI8 gemm{.tile_rows = 6,
                           .tile_cols = 16,
                           .depth_step = 4,
                           .activation_bytes = 1,
                           .activation_offset = devit::kVnniOffset,
                           .weight_bytes = 1,
                           .quantize = devit::quantize_i8_avx_vnni,
                           .run = devit::gemm_i8_6x16_avx_vnni};
  devit::AlignedBuffer<std::byte> panels(devit::packed_gemm_i8_size(depth, cols, gemm));
  const std::size_t row_bytes = devit::quantized_row_i8(depth, gemm);
  devit::AlignedBuffer<std::byte> quantized(rows * row_bytes);
  devit::AlignedBuffer<float> a_scale(rows);
  devit::pack_gemm_i8_weight(weight, scale, depth, cols, gemm, panels.data());
  devit::pack_gemm_i8_bias(bias, depth, cols, gemm, panels.data());
  gemm.quantize({.x = a,
                 .q = quantized.data(),
                 .scale = a_scale.data(),
                 .depth = depth,
                 .x_stride = depth,
                 .q_stride = row_bytes,
                 .row_begin = 0,
                 .row_end = rows});
  gemm.run({.a = quantized.data(),
            .a_scale = a_scale.data(),
            .panels = panels.data(),
            .out = out,
            .depth = depth,
            .cols = cols,
            .a_stride = row_bytes,
            .panel_stride = devit::panel_i8(depth, gemm),
            .out_stride = cols,
            .row_begin = 0,
            .row_end = rows,
            .panel_begin = 0,
            .panel_end = (cols + gemm.tile_cols - 1) / gemm.tile_cols,
            .epilogue = devit::Epilogue::kNone});
}

#if defined(MODEL) && defined(__AVX512VNNI__)
// Whether the model and this CPU's own instruction agree on `count` triples of 32 bytes.
extern "C" bool agree(const std::uint8_t* triples, std::size_t count) {
  const auto load = [](const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  };
  for (std::size_t i = 0; i < count; ++i, triples += 96) {
    const __m256i sums = load(triples), a = load(triples + 32), b = load(triples + 64);
    const __m256i wanted = _mm256_dpbusd_epi32(sums, a, b);
    const __m256i found = model_vpdpbusd(sums, a, b);
    if (__builtin_memcmp(&wanted, &found, sizeof(wanted)) != 0) return false;
  }
  return true;
}
#endif
