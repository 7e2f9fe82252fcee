#include "runtime/layers/mlp.h"

#include <algorithm>

namespace uniscale::runtime {

LinearWeights load_linear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out,
                          int64_t in) {
  const auto weight = file.require(name + ".weight", bundle::DType::F32, {out, in}).f32();
  const auto bias = file.require(name + ".bias", bundle::DType::F32, {out}).f32();
  return {PackedMatrix(weight.data(), out, in, in, 0), {bias.begin(), bias.end()}};
}

Mlp::Mlp(const bundle::SafetensorsFile& file, const std::string& name, const std::vector<int64_t>& widths,
         Activation activation)
    : activation_(activation) {
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    layers_.push_back(load_linear(file, name + "." + std::to_string(i), widths[i + 1], widths[i]));
    widest_ = std::max(widest_, widths[i + 1]);
  }
}

void Mlp::operator()(const float* x, int64_t rows, float* y, float* scratch) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LinearWeights& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    float* out = last ? y : scratch + static_cast<int64_t>(i % 2) * rows * widest_;
    matmul(x, rows, layer.weight, layer.bias.data(), false, out);
    if (!last)
      activation_ == Activation::Relu ? relu(out, rows * layer.weight.out())
                                      : gelu(out, rows * layer.weight.out());
    x = out;
  }
}

}  // namespace uniscale::runtime
