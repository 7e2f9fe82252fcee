#include "runtime/kernels/detail/training_levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/simd_avx2.h"
#include "runtime/kernels/detail/update_body.h"

namespace uniscale::runtime {

const TrainingKernels* avx2_training_kernels(Precision precision) {
  static constexpr TrainingKernels kFp32 = training_kernels_of<SimdAvx2, Precision::Fp32>(Isa::Avx2);
  static constexpr TrainingKernels kBf16 = training_kernels_of<SimdAvx2, Precision::Bf16>(Isa::Avx2);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const TrainingKernels* avx2_training_kernels(Precision) { return nullptr; }
}  // namespace uniscale::runtime

#endif
