#if !defined(__AVX512F__) || !defined(__AVX512VNNI__)
#error "compile this file with -mavx512f -mavx512vnni"
#endif

#include "kernels/simd/simd_avx512.h"

#include "kernels/gemm/gemm_i8_vnni_inl.h"

namespace devit {
namespace {

struct Dot512 {
  using Sums = __m512i;
  static constexpr std::size_t kLanes = 16;

  static inline Sums load(const void* p) { return _mm512_loadu_si512(p); }
  static inline Sums broadcast(const void* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  static inline Sums add(Sums sums, Sums unsigned_bytes, Sums signed_bytes) {
    return _mm512_dpbusd_epi32(sums, unsigned_bytes, signed_bytes);
  }
  static inline void store(void* p, Sums sums) { _mm512_storeu_si512(p, sums); }
};

}  // namespace

void quantize_i8_avx512_vnni(const QuantizeI8Args& args) {
  quantize_rows<std::uint8_t, kVnniOffset>(args);
}

void gemm_i8_12x32_avx512_vnni(const GemmI8Args& args) {
  multiply_portion_i8<VnniTile<Dot512, 12, 2>>(args);
}

}  // namespace devit
