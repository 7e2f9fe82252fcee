#include "model/dlrm_mlp.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace uniscale::model {

DlrmMlp::DlrmMlp(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  std::vector<int64_t> widths{tokenizer_->num_tokens() * options.token_dim};
  widths.insert(widths.end(), options.trunk.begin(), options.trunk.end());
  trunk_ = std::make_unique<Mlp>("trunk", widths, Activation::Relu, generator, dtype, parameters_);
  heads_ = std::make_unique<Heads>(options, spec, options.trunk.back(), generator, dtype, parameters_);
}

std::vector<at::Tensor> DlrmMlp::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  const at::Tensor z =
      at::relu(trunk_->split(tokens.request.flatten(1), tokens.candidate.flatten(1), batch.request_of));
  return (*heads_)(z, batch);
}

json::Value DlrmMlp::architecture_options() const {
  return {{"token_dim", options_.token_dim},
          {"trunk", options_.trunk},
          {"head", options_.head},
          {"tasks", options_.tasks}};
}

double DlrmMlp::flops_per_candidate(double candidates_per_request) const {
  const double split =
      2.0 * static_cast<double>(tokenizer_->num_request_tokens() * options_.token_dim * options_.trunk[0]);
  const double candidate = tokenizer_->candidate_flops() + trunk_->flops() - split + heads_->flops();
  return candidate + (tokenizer_->request_flops() + split) / candidates_per_request;
}

}  // namespace uniscale::model
