#pragma once

#include <cstddef>

namespace devit {

// Multiply-adds in registers only, in enough independent chains to fill every pipe: the rate that
// no kernel of this instruction set can beat. Returns the floating-point operations done.
// `sink` receives a value that depends on all of them, so that none can be left out.
using FmaPeakF32 = double (*)(std::size_t rounds, float* sink);

double fma_peak_f32_scalar(std::size_t rounds, float* sink);
double fma_peak_f32_avx2(std::size_t rounds, float* sink);  // x86-64 builds only
double fma_peak_f32_avx512(std::size_t rounds, float* sink);
double fma_peak_f32_neon(std::size_t rounds, float* sink);  // AArch64 builds only

}  // namespace devit
