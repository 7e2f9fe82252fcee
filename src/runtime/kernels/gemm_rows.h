// The body of `matmul`, compiled once for each instruction set by the gemm_<isa>.cc files: 4 rows × 16
// outputs of sums stay in registers. A row's sum runs over the inputs in order whatever the block, so a score
// never depends on its neighbours.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/kernels/gemm.h"

namespace uniscale::runtime {

using Lanes = float __attribute__((vector_size(64)));  // 16 floats; narrower machines split it

// Internal linkage: each instruction set must keep its own copy.
template <int Rows>
static inline void gemm_block(const float* x, int64_t in, const float* panel, const float* bias,
                              bool accumulate, float* y, int64_t out, int64_t first, int64_t width) {
  Lanes sums[Rows];
  for (int r = 0; r < Rows; ++r) {
    alignas(64) float start[PackedMatrix::kPanel] = {};
    for (int64_t o = 0; o < width; ++o) {
      start[o] = (bias != nullptr ? bias[first + o] : 0.0F) + (accumulate ? y[r * out + first + o] : 0.0F);
    }
    std::memcpy(&sums[r], start, sizeof(Lanes));
  }
  for (int64_t i = 0; i < in; ++i) {
    Lanes w;
    std::memcpy(&w, panel + i * PackedMatrix::kPanel, sizeof(Lanes));
    for (int r = 0; r < Rows; ++r) sums[r] += x[r * in + i] * w;
  }
  for (int r = 0; r < Rows; ++r)
    std::memcpy(y + r * out + first, &sums[r], static_cast<size_t>(width) * sizeof(float));
}

static inline void gemm_rows(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias,
                             bool accumulate, float* y) {
  const int64_t in = weight.in(), out = weight.out();
  for (int64_t p = 0; p < weight.num_panels(); ++p) {
    const int64_t first = p * PackedMatrix::kPanel;
    const int64_t width = first + PackedMatrix::kPanel <= out ? PackedMatrix::kPanel : out - first;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
      gemm_block<4>(x + r * in, in, weight.panel(p), bias, accumulate, y + r * out, out, first, width);
    for (; r < rows; ++r)
      gemm_block<1>(x + r * in, in, weight.panel(p), bias, accumulate, y + r * out, out, first, width);
  }
}

using GemmRows = void (*)(const float*, int64_t, const PackedMatrix&, const float*, bool, float*);
void gemm_rows_portable(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias,
                        bool accumulate, float* y);
void gemm_rows_avx2(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias,
                    bool accumulate, float* y);
void gemm_rows_avx512(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias,
                      bool accumulate, float* y);

}  // namespace uniscale::runtime
