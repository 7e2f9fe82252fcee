// Linear layers with an activation between them; weights from a bundle (docs/formats/weights.md).
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/linear.h"

namespace uniscale::runtime {

class Mlp {
 public:
  Mlp() = default;
  // Layers `<name>.<first>` …, widths[0] → … → widths.back().
  Mlp(const bundle::SafetensorsFile& file, const std::string& name, const std::vector<int64_t>& widths,
      Activation activation, Precision precision, int first = 0);
  // x [rows, widths.front()] → y [rows, widths.back()].
  void operator()(const Compute& compute, const OperandTokens& x, const Output& y) const;
  int64_t out() const { return layers_.back().out(); }
  double flops() const;

 private:
  std::vector<Linear> layers_;
  Activation activation_ = Activation::None;
};

}  // namespace uniscale::runtime
