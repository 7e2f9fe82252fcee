// A weight matrix in the order in which the kernels read it. Immutable; thread-safe.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/kernels/kernels.h"

namespace uniscale::runtime {

// W [out, in] as panels of 64 outputs (the last one narrower, a multiple of 16): a panel holds, for each
// group of inputs (1 with Fp32, 2 with Bf16), the group's weights of all its outputs side by side, one 4-byte
// word an output. Outputs and groups are padded with zeros. AMX tiles, AVX-512 and AVX2 registers read the
// same layout.
class PackedWeights {
 public:
  static constexpr int64_t kPanel = 64;
  static constexpr int64_t kLane = 16;

  PackedWeights() = default;
  // Columns [first, first + in) of a row-major [out, stride] matrix. `column_scale` [in] multiplies the
  // columns (a norm's gain folded in), null: 1.
  PackedWeights(Precision precision, const float* weight, int64_t out, int64_t in, int64_t stride,
                int64_t first = 0, const float* column_scale = nullptr);

  Precision precision() const { return precision_; }
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  int64_t padded_out() const { return (out_ + kLane - 1) / kLane * kLane; }
  int64_t group() const { return precision_ == Precision::Fp32 ? 1 : 2; }
  int64_t num_groups() const { return (in_ + group() - 1) / group(); }
  int64_t num_panels() const { return (out_ + kPanel - 1) / kPanel; }
  int64_t panel_width(int64_t p) const { return p + 1 < num_panels() ? kPanel : padded_out() - p * kPanel; }
  const uint32_t* panel(int64_t p) const { return words_.get() + p * kPanel * num_groups(); }
  // Multiply-adds × 2 of one row.
  double flops() const { return 2.0 * static_cast<double>(in_) * static_cast<double>(out_); }

 private:
  struct Free {
    void operator()(uint32_t* words) const;
  };
  Precision precision_ = Precision::Fp32;
  int64_t out_ = 0, in_ = 0;
  std::unique_ptr<uint32_t[], Free> words_;  // 64-byte aligned
};

uint16_t to_bf16(float value);  // nearest, ties to even
float from_bf16(uint16_t bits);

}  // namespace uniscale::runtime
