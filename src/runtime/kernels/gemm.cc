#include "runtime/kernels/gemm.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/kernels/gemm_rows.h"

namespace uniscale::runtime {
namespace {

GemmRows choose_gemm() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return gemm_rows_avx512;
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return gemm_rows_avx2;
#endif
  return gemm_rows_portable;
}

}  // namespace

PackedMatrix::PackedMatrix(const float* weight, int64_t out, int64_t in, int64_t stride, int64_t first)
    : out_(out), in_(in), values_(static_cast<size_t>((out + kPanel - 1) / kPanel * in * kPanel), 0.0F) {
  for (int64_t o = 0; o < out; ++o) {
    float* panel_values = values_.data() + (o / kPanel) * in * kPanel;
    for (int64_t i = 0; i < in; ++i) panel_values[i * kPanel + o % kPanel] = weight[o * stride + first + i];
  }
}

void matmul(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias, bool accumulate,
            float* y) {
  static const GemmRows gemm = choose_gemm();
  gemm(x, rows, weight, bias, accumulate, y);
}

void relu(float* x, int64_t size) {
  for (int64_t i = 0; i < size; ++i) x[i] = std::max(x[i], 0.0F);
}

void gelu(float* x, int64_t size) {
  for (int64_t i = 0; i < size; ++i)
    x[i] = 0.5F * x[i] * (1.0F + std::erf(x[i] / std::numbers::sqrt2_v<float>));
}

}  // namespace uniscale::runtime
