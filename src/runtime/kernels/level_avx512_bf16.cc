#include "runtime/kernels/detail/levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/attention_body.h"
#include "runtime/kernels/detail/row_body.h"
#include "runtime/kernels/detail/simd_avx512.h"

namespace uniscale::runtime {

const Kernels* avx512_bf16_kernels() {
  static constexpr Kernels kBf16 = kernels_of<SimdAvx512Bf16, Precision::Bf16>(Isa::Avx512Bf16);
  return &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const Kernels* avx512_bf16_kernels() { return nullptr; }
}  // namespace uniscale::runtime

#endif
