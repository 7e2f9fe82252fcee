#include "runtime/kernels/detail/attention_body.h"
#include "runtime/kernels/detail/levels.h"
#include "runtime/kernels/detail/row_body.h"
#include "runtime/kernels/detail/simd_portable.h"

namespace uniscale::runtime {

const Kernels* portable_kernels(Precision precision) {
  static constexpr Kernels kFp32 = kernels_of<SimdPortable, Precision::Fp32>(Isa::Portable);
  static constexpr Kernels kBf16 = kernels_of<SimdPortable, Precision::Bf16>(Isa::Portable);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime
