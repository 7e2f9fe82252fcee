// The training tables of each instruction set; null where they were not built for this kind of machine.
#pragma once

#include "runtime/kernels/training.h"

namespace uniscale::runtime {

const TrainingKernels* portable_training_kernels(Precision precision);
const TrainingKernels* avx2_training_kernels(Precision precision);
const TrainingKernels* avx512_training_kernels(Precision precision);
const TrainingKernels* avx512_bf16_training_kernels();  // Precision::Bf16

}  // namespace uniscale::runtime
