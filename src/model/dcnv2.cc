#include "model/dcnv2.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "base/error.h"
#include "model/token_ops.h"

namespace uniscale::model {

Dcnv2::Dcnv2(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  const int64_t r = options.cross_rank, e = options.cross_experts;
  US_REQUIRE(
      e == 1 || r > 0,
      fmt::format("model.cross_experts: a mixture needs experts of low rank, expected cross_rank above "
                  "0, got {} experts of full rank",
                  e));
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  width_ = tokenizer_->num_tokens() * options.token_dim;
  for (int64_t l = 0; l < options.num_layers; ++l) {
    const std::string name = fmt::format("cross.{}.", l);
    const auto weight = [&](const char* part, at::IntArrayRef shape, int64_t fan_in) {
      return uniform_parameter(name + part + "weight", shape, fan_in, generator, dtype, parameters_);
    };
    Layer layer;
    if (r == 0) {
      layer.weight = weight("", {width_, width_}, width_);
    } else if (e == 1) {
      layer.down = weight("down.", {r, width_}, width_);
      layer.up = weight("up.", {width_, r}, r);
    } else {
      layer.down = weight("down.", {e, r, width_}, width_);
      layer.middle = weight("middle.", {e, r, r}, r);
      layer.up = weight("up.", {e, width_, r}, r);
      layer.gate = weight("gate.", {e, width_}, width_);
    }
    layer.bias = uniform_parameter(name + "bias", {width_}, width_, generator, dtype, parameters_);
    parameters_.back().decays = false;
    layers_.push_back(std::move(layer));
  }
  trunk_ = std::make_unique<Trunk>(options, width_, generator, dtype, parameters_);
  heads_ = std::make_unique<Heads>(options, spec, trunk_->out(), generator, dtype, parameters_);
}

at::Tensor Dcnv2::crossed(const Layer& layer, const at::Tensor& request, const at::Tensor& candidate,
                          const at::Tensor& request_of) const {
  const auto product = [&](const at::Tensor& weight) {
    return split_linear(request, candidate, weight, {}, request_of);
  };
  if (layer.weight.defined()) return product(layer.weight);
  if (!layer.gate.defined()) return at::linear(product(layer.down), layer.up);
  const at::Tensor down =
      at::tanh(product(layer.down.flatten(0, 1))).unflatten(1, {layer.down.size(0), layer.down.size(1)});
  const at::Tensor inner = at::tanh(per_token_linear(down, layer.middle));     // [C, E, r]
  const at::Tensor shares = at::softmax(product(layer.gate), 1).unsqueeze(2);  // [C, E, 1]
  // Σ_k g_k up_k inner_k as one product; the bias is the same of every expert, and Σ_k g_k = 1.
  return at::linear((shares * inner).flatten(1), layer.up.permute({1, 0, 2}).flatten(1));
}

std::vector<at::Tensor> Dcnv2::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  at::Tensor request = tokens.request.flatten(1), candidate = tokens.candidate.flatten(1);
  const at::Tensor x0 = join_sides(tokens.request, tokens.candidate, batch.request_of).flatten(1);  // [C, F]
  at::Tensor x = x0;
  for (const Layer& layer : layers_) {
    x = x0 * (crossed(layer, request, candidate, batch.request_of) + layer.bias) + x;
    request = request.narrow(1, 0, 0);  // after the first layer every row is a candidate's
    candidate = x;
  }
  return (*heads_)((*trunk_)(x), batch);
}

json::Value Dcnv2::architecture_options() const {
  return {{"token_dim", options_.token_dim},
          {"num_layers", options_.num_layers},
          {"cross_rank", options_.cross_rank},
          {"cross_experts", options_.cross_experts},
          {"trunk", options_.trunk},
          {"head", options_.head},
          {"shared_head", options_.shared_head},
          {"tasks", options_.tasks}};
}

double Dcnv2::flops_per_candidate(double candidates_per_request) const {
  double request = tokenizer_->request_flops();
  double candidate = tokenizer_->candidate_flops() + trunk_->flops() + heads_->flops();
  for (size_t l = 0; l < layers_.size(); ++l) {
    double of_input = 0;  // what reads x_l
    for (const at::Tensor* one : {&layers_[l].weight, &layers_[l].down, &layers_[l].gate})
      of_input += one->defined() ? 2.0 * static_cast<double>(one->numel()) : 0.0;
    for (const at::Tensor* one : {&layers_[l].middle, &layers_[l].up})
      candidate += one->defined() ? 2.0 * static_cast<double>(one->numel()) : 0.0;
    const double share = l > 0 ? 0.0
                               : static_cast<double>(tokenizer_->num_request_tokens()) /
                                     static_cast<double>(tokenizer_->num_tokens());
    request += of_input * share;
    candidate += of_input * (1 - share);
  }
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
