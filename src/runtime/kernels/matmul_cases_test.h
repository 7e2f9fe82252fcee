// Random products and attentions, and their plain double twins.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/random.h"
#include "runtime/kernels/kernels.h"
#include "runtime/kernels/packed_weights.h"

namespace uniscale::runtime {

inline std::vector<float> random_floats(base::RandomStream& random, int64_t size, double scale = 1.0) {
  std::vector<float> out;
  for (int64_t i = 0; i < size; ++i)
    out.push_back(static_cast<float>(scale * (static_cast<double>(random.below(20001)) * 1e-4 - 1.0)));
  return out;
}

// Values as operands of one precision, and what they are after rounding.
struct Operands {
  Operands(Precision precision, const std::vector<float>& values) {
    for (float value : values) {
      if (precision == Precision::Bf16) {
        bf16.push_back(to_bf16(value));
        rounded.push_back(static_cast<double>(from_bf16(bf16.back())));
      } else {
        fp32.push_back(value);
        rounded.push_back(static_cast<double>(value));
      }
    }
  }
  const void* data() const {
    return bf16.empty() ? static_cast<const void*>(fp32.data()) : static_cast<const void*>(bf16.data());
  }
  std::vector<uint16_t> bf16;
  std::vector<float> fp32;
  std::vector<double> rounded;
};

// A vector that operands are written to and read back from as floats.
struct OperandBuffer {
  OperandBuffer(Precision precision_in, int64_t size)
      : precision(precision_in),
        bf16(static_cast<size_t>(size), 0x4242),
        fp32(static_cast<size_t>(size), 42.0F) {}
  void* data() {
    return precision == Precision::Bf16 ? static_cast<void*>(bf16.data()) : static_cast<void*>(fp32.data());
  }
  float at(int64_t i) const {
    const auto k = static_cast<size_t>(i);
    return precision == Precision::Bf16 ? from_bf16(bf16[k]) : fp32[k];
  }
  Precision precision;
  std::vector<uint16_t> bf16;
  std::vector<float> fp32;
};

inline double gelu_twin(double x) { return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2)); }

struct MatmulCase {
  int64_t rows, in, out, num_segments;
  Activation activation;
  bool add, y_operands;
};

// The product of a case with kernels of any level: results as floats [rows, out] and the twin's.
struct MatmulResult {
  std::vector<float> got;
  std::vector<double> want;
  std::vector<double> size;  // Σ |terms|, what rounding errors scale with
};

// `only_row` ≥ 0: that row alone is computed. `matmul` null: the table's.
inline MatmulResult run_matmul(const MatmulCase& c, Precision precision, void (*matmul)(const MatmulArgs&),
                               uint64_t seed, int64_t only_row = -1) {
  base::RandomStream random(seed, 3);
  const int64_t piece = c.in / c.num_segments;
  const int64_t x_stride = operand_width(piece) + 2, segment_stride = c.rows * x_stride + 4;
  std::vector<float> x = random_floats(random, c.num_segments * segment_stride);
  for (int64_t s = 0; s < c.num_segments; ++s)
    for (int64_t r = 0; r < c.rows; ++r)
      if (piece % 2 != 0) x[static_cast<size_t>(s * segment_stride + r * x_stride + piece)] = 0.0F;
  const std::vector<float> w = random_floats(random, c.out * c.in);
  std::vector<float> bias = random_floats(random, (c.out + 15) / 16 * 16);
  for (size_t i = static_cast<size_t>(c.out); i < bias.size(); ++i) bias[i] = 0.0F;
  const int64_t add_rows = 3;
  const std::vector<float> add = random_floats(random, add_rows * c.out);
  std::vector<int32_t> add_row;
  for (int64_t r = 0; r < c.rows; ++r) add_row.push_back(static_cast<int32_t>(random.below(add_rows)));

  const Operands operands(precision, x), weights(precision, w);
  const PackedWeights packed(precision, w.data(), c.out, c.in, c.in);
  const int64_t begin = only_row < 0 ? 0 : only_row, rows = only_row < 0 ? c.rows : 1;
  const int64_t y_stride = operand_width(c.out) + 2;
  OperandBuffer y(c.y_operands ? precision : Precision::Fp32, rows * y_stride);
  std::vector<float> scratch(static_cast<size_t>(rows * PackedWeights::kPanel));
  MatmulArgs args;
  args.x = static_cast<const std::byte*>(operands.data()) + begin * x_stride * operand_bytes(precision);
  args.num_rows = rows;
  args.x_stride = x_stride;
  args.num_segments = c.num_segments;
  args.segment_stride = segment_stride;
  args.weights = &packed;
  args.bias = bias.data();
  args.add = c.add ? add.data() : nullptr;
  args.add_stride = c.out;
  args.add_row = add_row.data() + begin;
  args.activation = c.activation;
  args.y = y.data();
  args.y_stride = y_stride;
  args.y_operands = c.y_operands;
  args.scratch = scratch.data();
  matmul(args);

  MatmulResult result;
  for (int64_t r = begin; r < begin + rows; ++r) {
    for (int64_t o = 0; o < c.out; ++o) {
      double sum = static_cast<double>(bias[static_cast<size_t>(o)]);
      if (c.add) {
        sum += static_cast<double>(add[static_cast<size_t>(add_row[static_cast<size_t>(r)] * c.out + o)]);
      }
      double size = std::abs(sum) + 1;
      for (int64_t i = 0; i < c.in; ++i) {
        const double term =
            operands.rounded[static_cast<size_t>(i / piece * segment_stride + r * x_stride + i % piece)] *
            weights.rounded[static_cast<size_t>(o * c.in + i)];
        sum += term;
        size += std::abs(term);
      }
      if (c.activation == Activation::Relu) sum = std::max(sum, 0.0);
      if (c.activation == Activation::Gelu) sum = gelu_twin(sum);
      result.want.push_back(sum);
      result.size.push_back(size);
      result.got.push_back(y.at((r - begin) * y_stride + o));
    }
    if (c.out % 2 != 0 && c.y_operands) {  // the padding
      result.want.push_back(0);
      result.size.push_back(0);
      result.got.push_back(y.at((r - begin) * y_stride + c.out));
    }
    // What lies behind a row stays as it was.
    const float behind = y.at((r - begin) * y_stride + y_stride - 1);
    result.want.push_back(static_cast<double>(y.precision == Precision::Bf16 ? from_bf16(0x4242) : 42.0F));
    result.size.push_back(0);
    result.got.push_back(behind);
  }
  return result;
}

}  // namespace uniscale::runtime
