#pragma once

namespace devit {

// What this CPU and its operating system let us run; kernels are chosen by it, never by macros.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx_vnni = false;  // 256 bits, without AVX-512
  bool avx512 = false;    // its parts f, bw, dq and vl
  bool avx512_vnni = false;
  bool neon = false;
  bool dotprod = false;
  bool fp16 = false;
  bool i8mm = false;
};

CpuFeatures detect_cpu_features();

}  // namespace devit
