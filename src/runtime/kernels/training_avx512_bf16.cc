#include "runtime/kernels/detail/training_levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/simd_avx512.h"
#include "runtime/kernels/detail/update_body.h"

namespace uniscale::runtime {

const TrainingKernels* avx512_bf16_training_kernels() {
  static constexpr TrainingKernels kBf16 =
      training_kernels_of<SimdAvx512Bf16, Precision::Bf16>(Isa::Avx512Bf16);
  return &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const TrainingKernels* avx512_bf16_training_kernels() { return nullptr; }
}  // namespace uniscale::runtime

#endif
