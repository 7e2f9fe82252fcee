#include "runtime/kernels/detail/simd_portable.h"
#include "runtime/kernels/detail/training_levels.h"
#include "runtime/kernels/detail/update_body.h"

namespace uniscale::runtime {

const TrainingKernels* portable_training_kernels(Precision precision) {
  static constexpr TrainingKernels kFp32 = training_kernels_of<SimdPortable, Precision::Fp32>(Isa::Portable);
  static constexpr TrainingKernels kBf16 = training_kernels_of<SimdPortable, Precision::Bf16>(Isa::Portable);
  return precision == Precision::Fp32 ? &kFp32 : &kBf16;
}

}  // namespace uniscale::runtime
