// y = x Wᵀ + b with packed weights, and what layers share: kernels, scratch, rows of operands.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bundle/safetensors.h"
#include "runtime/kernels/kernels.h"
#include "runtime/kernels/packed_weights.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {

// What a layer computes with: the kernels of its precision and the thread's memory.
struct Compute {
  const Kernels& kernels;
  Arena& arena;
  int64_t operand_size() const { return operand_bytes(kernels.precision); }
  // Room for rows of operands, each padded.
  std::byte* take_operands(int64_t rows, int64_t width) const {
    return arena.take_bytes(rows * operand_width(width) * operand_size());
  }
};

// Tokens of many rows as operands: [num_tokens, rows, operand_width(width)].
struct OperandTokens {
  const void* data = nullptr;
  int64_t num_tokens = 1;
  int64_t rows = 0;
  int64_t width = 0;
};

// Where a product goes.
struct Output {
  void* data = nullptr;
  int64_t stride = 0;
  bool operands = false;
  Activation activation = Activation::None;
  // fp32 rows added before the activation; see MatmulArgs.
  const float* add = nullptr;
  int64_t add_stride = 0;
  const int32_t* add_row = nullptr;
};

class Linear {
 public:
  Linear() = default;
  // Columns [first, first + in) of a row-major [out, stride] matrix. `bias` [out] or empty; `column_scale`
  // [in] or null.
  Linear(Precision precision, const float* weight, std::span<const float> bias, int64_t out, int64_t in,
         int64_t stride, int64_t first = 0, const float* column_scale = nullptr);
  // `<name>.weight` [out, in] and, with `with_bias`, `<name>.bias` [out]; throws UserError if they are
  // missing or have other shapes.
  Linear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out, int64_t in,
         Precision precision, bool with_bias = true);

  // x: weight().in() = num_tokens · width operands a row.
  void operator()(const Compute& compute, const OperandTokens& x, const Output& y) const;
  int64_t out() const { return weight_.out(); }
  double flops() const { return weight_.flops(); }

 private:
  PackedWeights weight_;
  std::vector<float> bias_;  // [padded_out], empty: none
};

// W [x_shared; x_own] + b: tokens that all candidates of a request share, then their own. The shared part is
// computed once a request and added to each candidate's; exact.
class SplitLinear {
 public:
  SplitLinear() = default;
  // `<name>.weight` [out, (num_shared + num_own) · width], `<name>.bias` [out] with `with_bias`. `gain`: of a
  // norm before the product, folded into the columns, or empty.
  SplitLinear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out, int64_t num_shared,
              int64_t num_own, int64_t width, Precision precision, std::span<const float> gain,
              bool with_bias);
  // The same from memory: weight [out, (num_shared + num_own) · width]; `bias` [out] or empty.
  SplitLinear(Precision precision, const float* weight, std::span<const float> bias, int64_t out,
              int64_t num_shared, int64_t num_own, int64_t width, std::span<const float> gain = {});
  // part [rows, out].
  void shared_part(const Compute& compute, const OperandTokens& x, float* part) const;
  // `part` [requests, out], part_row [x.rows]: the request of each row; without shared tokens both are null.
  void operator()(const Compute& compute, const OperandTokens& x, const float* part, const int32_t* part_row,
                  Output y) const;
  int64_t out() const { return own_.out(); }
  double shared_flops() const { return shared_.flops(); }
  double own_flops() const { return own_.flops(); }

 private:
  Linear shared_, own_;
};

// A layer for each token: `<name>.weight` [tokens, out, in] and, with `with_bias`, `<name>.bias` [tokens,
// out]. `gain` [tokens, in] of a norm before the product, folded into the columns, or empty.
std::vector<Linear> load_by_token(const bundle::SafetensorsFile& file, const std::string& name,
                                  int64_t tokens, int64_t out, int64_t in, bool with_bias,
                                  std::span<const float> gain, Precision precision);

}  // namespace uniscale::runtime
