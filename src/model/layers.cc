#include "model/layers.h"

#include <ATen/ATen.h>

#include <cmath>

namespace uniscale::model {

Linear::Linear(const std::string& name, int64_t in, int64_t out, at::Generator& generator,
               at::ScalarType dtype, std::vector<Parameter>& parameters) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  const auto draw = [&](at::IntArrayRef shape) {
    at::Tensor value = at::empty(shape, at::TensorOptions().dtype(dtype));
    value.uniform_(-bound, bound, generator);
    return value.requires_grad_(true);
  };
  weight_ = draw({out, in});
  bias_ = draw({out});
  parameters.push_back({name + ".weight", weight_, true});
  parameters.push_back({name + ".bias", bias_, false});
}

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

Mlp::Mlp(const std::string& name, const std::vector<int64_t>& widths, Activation activation,
         at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters)
    : activation_(activation) {
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    layers_.emplace_back(name + "." + std::to_string(i), widths[i], widths[i + 1], generator, dtype,
                         parameters);
  }
}

at::Tensor Mlp::operator()(at::Tensor x) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = layers_[i](x);
    if (i + 1 < layers_.size()) x = activation_ == Activation::Relu ? at::relu(x) : at::gelu(x);
  }
  return x;
}

double Mlp::flops() const {
  double sum = 0;
  for (const Linear& layer : layers_) sum += layer.flops();
  return sum;
}

}  // namespace uniscale::model
