#include "base/cpu_features.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace devit {

CpuFeatures detect_cpu_features() {
  CpuFeatures cpu;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  cpu.avx2 = __builtin_cpu_supports("avx2") != 0;
  cpu.fma = __builtin_cpu_supports("fma") != 0;
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
