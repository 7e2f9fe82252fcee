#include "model/layers.h"

#include <ATen/ATen.h>

#include "model/token_ops.h"

namespace uniscale::model {

Linear::Linear(const std::string& name, int64_t in, int64_t out, at::Generator& generator,
               at::ScalarType dtype, std::vector<Parameter>& parameters)
    : weight_(uniform_parameter(name + ".weight", {out, in}, in, generator, dtype, parameters)),
      bias_(uniform_parameter(name + ".bias", {out}, in, generator, dtype, parameters)) {
  parameters.back().decays = false;
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

at::Tensor Mlp::operator()(const at::Tensor& x) const { return after_first(layers_[0](x)); }

at::Tensor Mlp::split(const at::Tensor& request, const at::Tensor& candidate,
                      const at::Tensor& request_of) const {
  return after_first(split_linear(request, candidate, layers_[0].weight(), layers_[0].bias(), request_of));
}

at::Tensor Mlp::after_first(at::Tensor x) const {
  for (size_t i = 1; i < layers_.size(); ++i)
    x = layers_[i](activation_ == Activation::Relu ? at::relu(x) : at::gelu(x));
  return x;
}

double Mlp::flops() const {
  double sum = 0;
  for (const Linear& layer : layers_) sum += layer.flops();
  return sum;
}

}  // namespace uniscale::model
