#pragma once

#include <span>
#include <string_view>

#include "base/cpu_features.h"
#include "kernels/attention/attention_f16.h"
#include "kernels/attention/attention_f32.h"
#include "kernels/gemm/gemm_f16.h"
#include "kernels/gemm/gemm_f32.h"
#include "kernels/gemm/gemm_i8.h"
#include "kernels/layer_norm/layer_norm_f32.h"
#include "kernels/peak/fma_peak_f32.h"
#include "kernels/resize/resize_u8.h"

namespace devit {

// One row per instruction set: the best micro-kernel this build has for every operation.
struct KernelTable {
  std::string_view isa;
  bool (*runs_on)(const CpuFeatures&);
  GemmF32 gemm_f32;
  GemmF16 gemm_f16;
  GemmI8 gemm_i8;
  AttentionF32 attention_f32;
  AttentionF16 attention_f16;
  LayerNormF32 layer_norm_f32;
  FmaPeakF32 fma_peak_f32;
  ResizeU8 resize_u8;
};

// Every table in this build, best first; the last one runs anywhere.
std::span<const KernelTable> kernel_tables();

// The table called `isa`, or the best one for `cpu` if `isa` is empty.
// Throws std::invalid_argument if the build or the CPU lacks it: a typo must never mean "scalar".
const KernelTable& select_kernels(const CpuFeatures& cpu, std::string_view isa);

// select_kernels() for this machine; if `isa` is empty, the environment's DEVIT_ISA decides.
const KernelTable& kernels(std::string_view isa);

}  // namespace devit
