#include "runtime/kernels/detail/levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/attention_body.h"
#include "runtime/kernels/detail/row_body.h"
#include "runtime/kernels/detail/simd_avx512.h"

namespace uniscale::runtime {

const Kernels* avx512_kernels(Precision precision) {
  static constexpr Kernels kFp32 = kernels_of<SimdAvx512, Precision::Fp32>(Isa::Avx512);
  static constexpr Kernels kBf16 = kernels_of<SimdAvx512, Precision::Bf16>(Isa::Avx512);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const Kernels* avx512_kernels(Precision) { return nullptr; }
}  // namespace uniscale::runtime

#endif
