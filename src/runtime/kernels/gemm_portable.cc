#include "runtime/kernels/gemm_rows.h"

namespace uniscale::runtime {

void gemm_rows_portable(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias,
                        bool accumulate, float* y) {
  gemm_rows(x, rows, weight, bias, accumulate, y);
}

}  // namespace uniscale::runtime
