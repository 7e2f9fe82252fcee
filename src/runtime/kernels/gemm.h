// y = x Wᵀ + b in fp32, the workhorse of inference. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <vector>

namespace uniscale::runtime {

// W [out, in] repacked so that 16 outputs lie side by side for each input.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // Columns [first, first + in) of a row-major [out, stride] matrix.
  PackedMatrix(const float* weight, int64_t out, int64_t in, int64_t stride, int64_t first);
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  const float* panel(int64_t p) const { return values_.data() + p * in_ * kPanel; }
  int64_t num_panels() const { return (out_ + kPanel - 1) / kPanel; }
  static constexpr int64_t kPanel = 16;

 private:
  int64_t out_ = 0, in_ = 0;
  std::vector<float> values_;  // [panels, in, kPanel], zero-padded
};

// y [rows, out] = x [rows, in] Wᵀ (+ bias, may be null; + y if `accumulate`). Each row's result depends on
// that row alone, bit for bit.
void matmul(const float* x, int64_t rows, const PackedMatrix& weight, const float* bias, bool accumulate,
            float* y);

void relu(float* x, int64_t size);
// Exact GELU: x · ½ · (1 + erf(x / √2)).
void gelu(float* x, int64_t size);

}  // namespace uniscale::runtime
