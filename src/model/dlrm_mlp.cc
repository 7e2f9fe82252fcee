#include "model/dlrm_mlp.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace uniscale::model {

DlrmMlp::DlrmMlp(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : options_(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  request_width_ = tokenizer_->num_request_tokens() * options.token_dim;
  const int64_t width = tokenizer_->num_tokens() * options.token_dim;
  const Linear first("trunk.0", width, options.trunk[0], generator, dtype, parameters_);
  first_weight_ = first.weight();
  first_bias_ = first.bias();
  for (size_t i = 1; i < options.trunk.size(); ++i) {
    trunk_.emplace_back("trunk." + std::to_string(i), options.trunk[i - 1], options.trunk[i], generator,
                        dtype, parameters_);
  }
  heads_ = std::make_unique<Heads>(options, spec, options.trunk.back(), generator, dtype, parameters_);
}

std::vector<at::Tensor> DlrmMlp::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  at::Tensor x = first_bias_;
  if (request_width_ > 0) {
    // [R, trunk_0], then one row a candidate: [C, trunk_0]
    const at::Tensor weight = first_weight_.narrow(1, 0, request_width_);
    x = at::linear(tokens.request.flatten(1), weight, first_bias_).index_select(0, batch.request_of);
  }
  if (request_width_ < first_weight_.size(1)) {
    const at::Tensor weight = first_weight_.narrow(1, request_width_, first_weight_.size(1) - request_width_);
    x = x + at::linear(tokens.candidate.flatten(1), weight);
  }
  x = at::relu(x);
  for (const Linear& layer : trunk_) x = at::relu(layer(x));
  return (*heads_)(x, batch);  // x = z [C, trunk_L]
}

json::Value DlrmMlp::architecture_options() const {
  return {{"token_dim", options_.token_dim},
          {"trunk", options_.trunk},
          {"head", options_.head},
          {"tasks", options_.tasks}};
}

double DlrmMlp::flops_per_candidate(double candidates_per_request) const {
  const double first_row = 2.0 * static_cast<double>(first_weight_.size(0));
  const double request = tokenizer_->request_flops() + first_row * static_cast<double>(request_width_);
  double candidate =
      tokenizer_->candidate_flops() + first_row * static_cast<double>(first_weight_.size(1) - request_width_);
  for (const Linear& layer : trunk_) candidate += layer.flops();
  candidate += heads_->flops();
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
