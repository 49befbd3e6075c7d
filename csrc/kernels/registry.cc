#include "kernels/registry.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace devit {
namespace {

constexpr GemmI8 kGemmI8Scalar{.tile_rows = 4,
                               .tile_cols = 8,
                               .depth_step = 1,
                               .activation_bytes = 2,
                               .activation_offset = 0,
                               .weight_bytes = 1,
                               .quantize = quantize_i8_scalar,
                               .run = gemm_i8_4x8_scalar};

#if defined(DEVIT_HAS_AVX)
constexpr GemmI8 kGemmI8Avx2{
    .tile_rows = 8,  // two tiles: what a panel costs by itself comes less often
    .tile_cols = 16,
    .depth_step = 2,
    .activation_bytes = 2,
    .activation_offset = 0,
    .weight_bytes = 2,
    .quantize = quantize_i8_avx2,
    .run = gemm_i8_4x16_avx2};

constexpr KernelTable kAvx2{
    .isa = "avx2",
    .runs_on = [](const CpuFeatures& cpu) { return cpu.avx2 && cpu.fma && cpu.f16c; },
    .gemm_f32 = {.tile_rows = 6, .tile_cols = 16, .run = gemm_f32_6x16_avx2},
    .gemm_f16 = {.tile_rows = 6, .tile_cols = 16, .round = nullptr, .run = gemm_f16_6x16_avx2},
    .gemm_i8 = kGemmI8Avx2,
    .attention_f32 = {.tile_rows = 16, .run = attention_f32_avx2},
    .attention_f16 = {.pack = nullptr, .run = nullptr},
    .layer_norm_f32 = layer_norm_f32_avx2,
    .fma_peak_f32 = fma_peak_f32_avx2,
    .resize_u8 = {resize_columns_u8_avx2, resize_rows_u8_avx2}};

constexpr KernelTable kAvxVnni = [] {
  KernelTable table = kAvx2;
  table.isa = "avx_vnni";
  table.runs_on = [](const CpuFeatures& cpu) {
    return cpu.avx2 && cpu.fma && cpu.f16c && cpu.avx_vnni;
  };
  table.gemm_i8 = {.tile_rows = 6,
                   .tile_cols = 16,
                   .depth_step = 4,
                   .activation_bytes = 1,
                   .activation_offset = 128,
                   .weight_bytes = 1,
                   .quantize = quantize_i8_avx_vnni,
                   .run = gemm_i8_6x16_avx_vnni};
  return table;
}();

constexpr KernelTable kAvx512 = [] {
  KernelTable table = kAvx2;
  table.isa = "avx512";
  table.runs_on = [](const CpuFeatures& cpu) {
    return cpu.avx2 && cpu.fma && cpu.f16c && cpu.avx512;
  };
  table.gemm_f32 = {.tile_rows = 12, .tile_cols = 32, .run = gemm_f32_12x32_avx512};
  table.gemm_f16 = {
      .tile_rows = 12, .tile_cols = 32, .round = nullptr, .run = gemm_f16_12x32_avx512};
  table.attention_f32 = {.tile_rows = 16, .run = attention_f32_avx512};
  table.layer_norm_f32 = layer_norm_f32_avx512;
  table.fma_peak_f32 = fma_peak_f32_avx512;
  return table;
}();

constexpr KernelTable kAvx512Vnni = [] {
  KernelTable table = kAvx512;
  table.isa = "avx512_vnni";
  table.runs_on = [](const CpuFeatures& cpu) {
    return cpu.avx2 && cpu.fma && cpu.f16c && cpu.avx512 && cpu.avx512_vnni;
  };
  table.gemm_i8 = {.tile_rows = 12,
                   .tile_cols = 32,
                   .depth_step = 4,
                   .activation_bytes = 1,
                   .activation_offset = 128,
                   .weight_bytes = 1,
                   .quantize = quantize_i8_avx512_vnni,
                   .run = gemm_i8_12x32_avx512_vnni};
  return table;
}();
#endif

#if defined(DEVIT_HAS_NEON)
// Rows of quantised activations are alike in all three; so are the panels but for their steps.
constexpr GemmI8 gemm_i8_neon(std::size_t tile_rows, std::size_t depth_step,
                              void (*run)(const GemmI8Args&)) {
  return {.tile_rows = tile_rows,
          .tile_cols = 16,
          .depth_step = depth_step,
          .activation_bytes = 1,
          .activation_offset = 0,
          .weight_bytes = 1,
          .quantize = quantize_i8_neon,
          .run = run};
}

constexpr KernelTable kNeon{
    .isa = "neon",
    .runs_on = [](const CpuFeatures& cpu) { return cpu.neon; },
    .gemm_f32 = {.tile_rows = 5, .tile_cols = 16, .run = gemm_f32_5x16_neon},
    .gemm_f16 = {.tile_rows = 5, .tile_cols = 16, .round = nullptr, .run = gemm_f16_5x16_neon},
    .gemm_i8 = gemm_i8_neon(4, 16, gemm_i8_4x16_neon),
    .attention_f32 = {.tile_rows = 12, .run = attention_f32_neon},
    .attention_f16 = {.pack = nullptr, .run = nullptr},
    .layer_norm_f32 = layer_norm_f32_neon,
    .fma_peak_f32 = fma_peak_f32_neon,
    .resize_u8 = {resize_columns_u8_neon, resize_rows_u8_neon}};

constexpr KernelTable kNeonFp16 = [] {
  KernelTable table = kNeon;
  table.isa = "neon_fp16";
  table.runs_on = [](const CpuFeatures& cpu) { return cpu.neon && cpu.fp16; };
  table.gemm_f16 = {.tile_rows = 8,
                    .tile_cols = 16,
                    .round = round_f16_neon_fp16,
                    .run = gemm_f16_8x16_neon_fp16};
  table.attention_f16 = {.pack = pack_head_f16_neon_fp16, .run = attention_f16_neon_fp16};
  return table;
}();

// Every core with a dot product computes in halves too.
constexpr KernelTable kNeonDotprod = [] {
  KernelTable table = kNeonFp16;
  table.isa = "neon_dotprod";
  table.runs_on = [](const CpuFeatures& cpu) { return cpu.neon && cpu.fp16 && cpu.dotprod; };
  table.gemm_i8 = gemm_i8_neon(5, 4, gemm_i8_5x16_neon_dotprod);
  return table;
}();

constexpr KernelTable kNeonI8mm = [] {
  KernelTable table = kNeonFp16;
  table.isa = "neon_i8mm";
  table.runs_on = [](const CpuFeatures& cpu) { return cpu.neon && cpu.fp16 && cpu.i8mm; };
  table.gemm_i8 = gemm_i8_neon(4, 8, gemm_i8_4x16_neon_i8mm);
  return table;
}();
#endif

constexpr KernelTable kTables[] = {
#if defined(DEVIT_HAS_AVX)
    kAvx512Vnni,
    kAvx512,
    kAvxVnni,
    kAvx2,
#endif
#if defined(DEVIT_HAS_NEON)
    kNeonI8mm,
    kNeonDotprod,
    kNeonFp16,
    kNeon,
#endif
    {.isa = "scalar",
     .runs_on = [](const CpuFeatures&) { return true; },
     .gemm_f32 = {.tile_rows = 4, .tile_cols = 8, .run = gemm_f32_4x8_scalar},
     .gemm_f16 = {.tile_rows = 4, .tile_cols = 8, .round = nullptr, .run = gemm_f16_4x8_scalar},
     .gemm_i8 = kGemmI8Scalar,
     .attention_f32 = {.tile_rows = 4, .run = attention_f32_scalar},
     .attention_f16 = {.pack = nullptr, .run = nullptr},
     .layer_norm_f32 = layer_norm_f32_scalar,
     .fma_peak_f32 = fma_peak_f32_scalar,
     .resize_u8 = {resize_columns_u8_scalar, resize_rows_u8_scalar}},
};

std::string available(const CpuFeatures& cpu) {
  std::string names;
  for (const KernelTable& table : kTables) {
    if (!table.runs_on(cpu)) continue;
    if (!names.empty()) names += ", ";
    names += table.isa;
  }
  return names;
}

}  // namespace

std::span<const KernelTable> kernel_tables() { return kTables; }

const KernelTable& select_kernels(const CpuFeatures& cpu, std::string_view isa) {
  for (const KernelTable& table : kTables) {
    if ((isa.empty() || isa == table.isa) && table.runs_on(cpu)) return table;
  }
  throw std::invalid_argument("no kernels for instruction set '" + std::string(isa) +
                              "' here; available: " + available(cpu));
}

const KernelTable& kernels(std::string_view isa) {
  const CpuFeatures cpu = detect_cpu_features();
  const char* forced = std::getenv("DEVIT_ISA");
  return select_kernels(cpu, isa.empty() && forced != nullptr ? forced : isa);
}

}  // namespace devit
