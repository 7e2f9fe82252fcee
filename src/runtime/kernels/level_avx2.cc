#include "runtime/kernels/detail/levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/attention_body.h"
#include "runtime/kernels/detail/row_body.h"
#include "runtime/kernels/detail/simd_avx2.h"

namespace uniscale::runtime {

const Kernels* avx2_kernels(Precision precision) {
  static constexpr Kernels kFp32 = kernels_of<SimdAvx2, Precision::Fp32>(Isa::Avx2);
  static constexpr Kernels kBf16 = kernels_of<SimdAvx2, Precision::Bf16>(Isa::Avx2);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const Kernels* avx2_kernels(Precision) { return nullptr; }
}  // namespace uniscale::runtime

#endif
