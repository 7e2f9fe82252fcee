#include "model/trunk.h"

#include <ATen/ATen.h>

#include "model/token_ops.h"

namespace uniscale::model {

Trunk::Trunk(const Options& options, int64_t in, at::Generator& generator, at::ScalarType dtype,
             std::vector<Parameter>& parameters) {
  for (size_t i = 0; i < options.trunk.size(); ++i) {
    layers_.emplace_back("trunk." + std::to_string(i), i == 0 ? in : options.trunk[i - 1], options.trunk[i],
                         generator, dtype, parameters);
  }
}

at::Tensor Trunk::operator()(at::Tensor x) const {
  for (const Linear& layer : layers_) x = at::relu(layer(x));
  return x;
}

at::Tensor Trunk::split(const at::Tensor& request, const at::Tensor& candidate,
                        const at::Tensor& request_of) const {
  at::Tensor x =
      at::relu(split_linear(request, candidate, layers_[0].weight(), layers_[0].bias(), request_of));
  for (size_t i = 1; i < layers_.size(); ++i) x = at::relu(layers_[i](x));
  return x;
}

double Trunk::flops() const {
  double sum = 0;
  for (const Linear& layer : layers_) sum += layer.flops();
  return sum;
}

LayerNorm::LayerNorm(const std::string& name, int64_t width, at::ScalarType dtype,
                     std::vector<Parameter>& parameters) {
  gain_ = gain_parameter(name + ".gain", {width}, dtype, parameters);
  bias_ = at::zeros({width}, at::TensorOptions().dtype(dtype)).requires_grad_(true);
  parameters.push_back({name + ".bias", bias_, false});
}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x.to(gain_.scalar_type()), {gain_.size(0)}, gain_, bias_, 1e-5);
}

TokenFfn::TokenFfn(const std::string& name, int64_t num_tokens, int64_t dim, int64_t hidden,
                   at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters) {
  for (int i = 0; i < 2; ++i) {
    const int64_t in = i == 0 ? dim : hidden, out = i == 0 ? hidden : dim;
    const std::string layer = name + "." + std::to_string(i);
    weight_[i] =
        uniform_parameter(layer + ".weight", {num_tokens, out, in}, in, generator, dtype, parameters);
    bias_[i] = uniform_parameter(layer + ".bias", {num_tokens, out}, in, generator, dtype, parameters);
    parameters.back().decays = false;
  }
}

at::Tensor TokenFfn::operator()(const at::Tensor& y, int64_t first) const {
  const auto of = [&](const at::Tensor& parameter) { return parameter.narrow(0, first, y.size(1)); };
  const at::Tensor hidden = at::gelu(per_token_linear(y, of(weight_[0]), of(bias_[0])));
  return per_token_linear(hidden, of(weight_[1]), of(bias_[1]));
}

}  // namespace uniscale::model
