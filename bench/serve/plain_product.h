// The limit: a plain bf16 product over packed weights, sums in registers and nothing around it.
#pragma once

#include <cstdint>

namespace uniscale::bench {

// Does this machine have the instruction that plain_product uses (AVX-512 bf16)?
bool has_plain_product();

// y [rows, out] = x [rows, in] Wᵀ in fp32; x and w are bf16, w packed as [out / 64, in / 2, 64, 2]. `in`
// even, `out` a multiple of 64. 6 rows × 64 outputs of sums in registers.
void plain_product(const uint16_t* x, int64_t rows, int64_t in, const uint16_t* w, int64_t out, float* y);

// Runs the instruction alone, from and to registers, steps × 24 times; returns its multiply-adds × 2.
double instruction_flops(int64_t steps);

}  // namespace uniscale::bench
