// Linear layers with an activation between them; weights from a bundle (docs/formats/weights.md).
#pragma once

#include <string>
#include <vector>

#include "bundle/safetensors.h"
#include "runtime/kernels/gemm.h"

namespace uniscale::runtime {

struct LinearWeights {
  PackedMatrix weight;
  std::vector<float> bias;
};

// `<name>.weight` [out, in] and `<name>.bias` [out]; throws UserError if they are missing or have other
// shapes.
LinearWeights load_linear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out,
                          int64_t in);

enum class Activation { Relu, Gelu };

class Mlp {
 public:
  Mlp(const bundle::SafetensorsFile& file, const std::string& name, const std::vector<int64_t>& widths,
      Activation activation);
  // x [rows, widths.front()] → y [rows, widths.back()]; `scratch` holds 2 · rows · widest() floats.
  void operator()(const float* x, int64_t rows, float* y, float* scratch) const;
  int64_t widest() const { return widest_; }

 private:
  std::vector<LinearWeights> layers_;
  Activation activation_;
  int64_t widest_ = 0;
};

}  // namespace uniscale::runtime
