#include "model/layers.h"

#include <ATen/ATen.h>

#include "model/fast_ops.h"
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

at::Tensor Mlp::operator()(const at::Tensor& x) const {
  if (!uses_fast_ops(layers_[0].weight())) return after_first(layers_[0](x));
  return fast({x, {}, 0}, layers_[0].weight(), {});
}

at::Tensor Mlp::split(const at::Tensor& request, const at::Tensor& candidate,
                      const at::Tensor& request_of) const {
  if (uses_fast_ops(layers_[0].weight())) return fast_split({request, {}, 0}, {candidate, {}, 0}, request_of);
  return after_first(split_linear(request, candidate, layers_[0].weight(), layers_[0].bias(), request_of));
}

at::Tensor Mlp::normed_split(const Tokens& x, const at::Tensor& gain, const at::Tensor& request_of) const {
  const int64_t num_request = x.request.size(1), width = gain.size(1);
  const at::Tensor request_gain = gain.narrow(0, 0, num_request),
                   candidate_gain = gain.narrow(0, num_request, x.candidate.size(1));
  if (uses_fast_ops(layers_[0].weight())) {
    return fast_split({x.request.flatten(1), request_gain.flatten(), width},
                      {x.candidate.flatten(1), candidate_gain.flatten(), width}, request_of);
  }
  return split(rms_norm(x.request, request_gain).flatten(1), rms_norm(x.candidate, candidate_gain).flatten(1),
               request_of);
}

at::Tensor Mlp::fast_split(const LinearInput& request, const LinearInput& candidate,
                           const at::Tensor& request_of) const {
  const int64_t from_request = request.x.size(1), from_candidate = candidate.x.size(1);
  const at::Tensor& weight = layers_[0].weight();
  if (from_request == 0) return fast(candidate, weight, {});
  LinearOutput output;
  output.add = fast_linear(request, weight.narrow(1, 0, from_request), {}, {.floats = true});
  output.add_row = request_of;
  return fast(candidate, weight.narrow(1, from_request, from_candidate), output);
}

at::Tensor Mlp::fast(const LinearInput& input, const at::Tensor& first_weight, LinearOutput first) const {
  const auto activation =
      activation_ == Activation::Relu ? runtime::Activation::Relu : runtime::Activation::Gelu;
  const auto activation_of = [&](size_t i) {
    return i + 1 < layers_.size() ? activation : runtime::Activation::None;
  };
  first.activation = activation_of(0);
  at::Tensor x = fast_linear(input, first_weight, layers_[0].bias(), first);
  for (size_t i = 1; i < layers_.size(); ++i)
    x = fast_linear({x, {}, 0}, layers_[i].weight(), layers_[i].bias(), {.activation = activation_of(i)});
  return x;
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
