// The tables of each instruction set; null where they were not built for this kind of machine.
#pragma once

#include "runtime/kernels/kernels.h"

namespace uniscale::runtime {

const Kernels* portable_kernels(Precision precision);
const Kernels* avx2_kernels(Precision precision);
const Kernels* avx512_kernels(Precision precision);
const Kernels* avx512_bf16_kernels();  // Precision::Bf16
const Kernels* amx_kernels();          // Precision::Bf16; asks the system for the tiles, null if it refuses

}  // namespace uniscale::runtime
