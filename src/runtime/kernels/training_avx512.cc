#include "runtime/kernels/detail/training_levels.h"

#if defined(__x86_64__)

#include "runtime/kernels/detail/simd_avx512.h"
#include "runtime/kernels/detail/update_body.h"

namespace uniscale::runtime {

const TrainingKernels* avx512_training_kernels(Precision precision) {
  static constexpr TrainingKernels kFp32 = training_kernels_of<SimdAvx512, Precision::Fp32>(Isa::Avx512);
  static constexpr TrainingKernels kBf16 = training_kernels_of<SimdAvx512, Precision::Bf16>(Isa::Avx512);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const TrainingKernels* avx512_training_kernels(Precision) { return nullptr; }
}  // namespace uniscale::runtime

#endif
