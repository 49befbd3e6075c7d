#include "base/cpu_features.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace devit {

CpuFeatures detect_cpu_features() {
  CpuFeatures cpu;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  cpu.avx2 = __builtin_cpu_supports("avx2") != 0;
  cpu.fma = __builtin_cpu_supports("fma") != 0;
  // It asks the operating system (XGETBV) whether it keeps registers of 512 bits.
  cpu.avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
               __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  cpu.avx512_vnni = cpu.avx512 && __builtin_cpu_supports("avx512vnni") != 0;
  // Not every compiler's __builtin_cpu_supports() knows these. Their vectors are those of AVX.
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  cpu.f16c = cpu.avx2 && __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
  cpu.avx_vnni =
      cpu.avx2 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
#if defined(DEVIT_MODEL_AVX_VNNI)
  cpu.avx_vnni = cpu.avx2;
#endif
#elif defined(__aarch64__)
  cpu.neon = true;  // part of the base architecture
#if defined(__linux__)
  // Bit numbers of the kernel's ABI: older C libraries lack the later names.
  const unsigned long hwcap = getauxval(AT_HWCAP);
  const unsigned long hwcap2 = getauxval(AT_HWCAP2);
  cpu.fp16 = (hwcap >> 10 & 1) != 0;     // HWCAP_ASIMDHP
  cpu.dotprod = (hwcap >> 20 & 1) != 0;  // HWCAP_ASIMDDP
  cpu.i8mm = (hwcap2 >> 13 & 1) != 0;    // HWCAP2_I8MM
#endif
#endif
  return cpu;
}

}  // namespace devit
