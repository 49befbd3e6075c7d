#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__AVXVNNI__)
#error "compile this file with -mavx2 -mfma -mavxvnni"
#endif

#include "kernels/simd/simd_avx2.h"

#include "kernels/gemm/gemm_i8_vnni_inl.h"

namespace devit {
namespace {

struct Dot256 {
  using Sums = __m256i;
  static constexpr std::size_t kLanes = 8;

  static inline Sums load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static inline Sums broadcast(const void* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  static inline Sums add(Sums sums, Sums unsigned_bytes, Sums signed_bytes) {
    return _mm256_dpbusd_avx_epi32(sums, unsigned_bytes, signed_bytes);
  }
  static inline void store(void* p, Sums sums) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), sums);
  }
};

}  // namespace

void quantize_i8_avx_vnni(const QuantizeI8Args& args) {
  quantize_rows<std::uint8_t, kVnniOffset>(args);
}

void gemm_i8_6x16_avx_vnni(const GemmI8Args& args) {
  multiply_portion_i8<VnniTile<Dot256, 6, 2>>(args);
}

}  // namespace devit
