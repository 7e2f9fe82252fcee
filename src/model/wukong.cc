#include "model/wukong.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "model/token_ops.h"

namespace uniscale::model {

Wukong::Wukong(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  const int64_t dim = options.token_dim, k = options.fmb_rank, out = options.fmb_rows + options.lcb_rows;
  int64_t n = tokenizer_->num_tokens();
  for (int64_t l = 0; l < options.num_layers; ++l) {
    const std::string name = fmt::format("wukong.{}.", l);
    const auto weight = [&](const char* part, at::IntArrayRef shape, int64_t fan_in) {
      return uniform_parameter(name + part, shape, fan_in, generator, dtype, parameters_);
    };
    std::vector<int64_t> widths{n * k};
    widths.insert(widths.end(), options.fmb_hidden.begin(), options.fmb_hidden.end());
    widths.push_back(options.fmb_rows * dim);
    const at::Tensor fm = weight("fm.weight", {n, k}, n);
    const LayerNorm fm_norm(name + "fm_norm", n * k, dtype, parameters_);
    const Mlp mlp(name + "mlp", widths, Activation::Relu, generator, dtype, parameters_);
    const at::Tensor lcb = weight("lcb.weight", {options.lcb_rows, n}, n);
    const at::Tensor residual = n == out ? at::Tensor() : weight("residual.weight", {out, n}, n);
    layers_.push_back({fm, lcb, residual, fm_norm, mlp, LayerNorm(name + "norm", dim, dtype, parameters_)});
    n = out;
  }
  trunk_ = std::make_unique<Trunk>(options, n * dim, generator, dtype, parameters_);
  heads_ = std::make_unique<Heads>(options, spec, trunk_->out(), generator, dtype, parameters_);
}

std::vector<at::Tensor> Wukong::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  at::Tensor x = join_sides(tokens.request, tokens.candidate, batch.request_of);  // [C, n, D]
  // W X for rows: [out, n] · [C, n, D] → [C, out, D]
  const auto rows = [](const at::Tensor& weight, const at::Tensor& of) {
    return at::linear(of.transpose(1, 2), weight).transpose(1, 2);
  };
  for (const Layer& layer : layers_) {
    const at::Tensor projected = at::linear(x.transpose(1, 2), layer.fm.t());  // Xᵀ Y [C, D, k]
    const at::Tensor fm = at::bmm(x, projected);                               // [C, n, k]
    const at::Tensor fmb =
        layer.mlp(layer.fm_norm(fm.flatten(1))).unflatten(1, {options_.fmb_rows, options_.token_dim});
    const at::Tensor skip = layer.residual.defined() ? rows(layer.residual, x) : x;
    x = layer.norm(at::cat({fmb, rows(layer.lcb, x)}, 1) + skip);
  }
  return (*heads_)((*trunk_)(x.flatten(1)), batch);
}

json::Value Wukong::architecture_options() const {
  return {{"token_dim", options_.token_dim},
          {"num_layers", options_.num_layers},
          {"fmb_rows", options_.fmb_rows},
          {"lcb_rows", options_.lcb_rows},
          {"fmb_rank", options_.fmb_rank},
          {"fmb_hidden", options_.fmb_hidden},
          {"trunk", options_.trunk},
          {"head", options_.head},
          {"shared_head", options_.shared_head},
          {"tasks", options_.tasks}};
}

double Wukong::flops_per_candidate(double candidates_per_request) const {
  double candidate = tokenizer_->candidate_flops() + trunk_->flops() + heads_->flops();
  const auto dim = static_cast<double>(options_.token_dim);
  for (const Layer& layer : layers_) {
    // Xᵀ Y and X (Xᵀ Y); then the MLP, the compression and the residual.
    candidate += 4.0 * static_cast<double>(layer.fm.numel()) * dim + layer.mlp.flops() +
                 2.0 * static_cast<double>(layer.lcb.numel()) * dim;
    if (layer.residual.defined()) candidate += 2.0 * static_cast<double>(layer.residual.numel()) * dim;
  }
  return candidate + tokenizer_->request_flops() / candidates_per_request;
}

}  // namespace uniscale::model
