#include "model/dlrm_mlp.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>

namespace uniscale::model {
namespace {

// Heads compute in the parameters' own precision, also under autocast.
class FullPrecision {
 public:
  FullPrecision() : was_(at::autocast::is_autocast_enabled(at::kCPU)) {
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }
  ~FullPrecision() { at::autocast::set_autocast_enabled(at::kCPU, was_); }
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

 private:
  bool was_;
};

}  // namespace

DlrmMlp::DlrmMlp(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : options_(options), spec_(spec) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  int64_t request_tokens = 0;
  for (const feature::Token& token : spec.tokens())
    request_tokens += token.side == feature::Side::Request ? 1 : 0;
  request_width_ = request_tokens * options.token_dim;
  const int64_t width = static_cast<int64_t>(spec.tokens().size()) * options.token_dim;
  const Linear first("trunk.0", width, options.trunk[0], generator, dtype, parameters_);
  first_weight_ = parameters_[parameters_.size() - 2].value;
  first_bias_ = parameters_.back().value;
  for (size_t i = 1; i < options.trunk.size(); ++i) {
    trunk_.emplace_back("trunk." + std::to_string(i), options.trunk[i - 1], options.trunk[i], generator,
                        dtype, parameters_);
  }
  std::vector<int64_t> widths{options.trunk.back()};
  widths.insert(widths.end(), options.head.begin(), options.head.end());
  widths.push_back(1);
  for (const std::string& domain : spec.domains()) {
    heads_.emplace_back();
    for (const std::string& task : options.tasks) {
      heads_.back().emplace_back("head." + domain + "." + task, widths, Activation::Relu, generator, dtype,
                                 parameters_);
    }
  }
}

std::vector<at::Tensor> DlrmMlp::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  at::Tensor x = first_bias_;
  if (!tokens.request.empty()) {
    // [R, trunk_0], then one row a candidate: [C, trunk_0]
    const at::Tensor weight = first_weight_.narrow(1, 0, request_width_);
    x = at::linear(at::cat(tokens.request, 1), weight, first_bias_).index_select(0, batch.request_of);
  }
  if (!tokens.candidate.empty()) {
    const at::Tensor weight = first_weight_.narrow(1, request_width_, first_weight_.size(1) - request_width_);
    x = x + at::linear(at::cat(tokens.candidate, 1), weight);
  }
  x = at::relu(x);
  for (const Linear& layer : trunk_) x = at::relu(layer(x));
  const FullPrecision guard;
  x = x.to(first_bias_.scalar_type());  // z [C, trunk_L]
  std::vector<at::Tensor> out;
  for (size_t t = 0; t < options_.tasks.size(); ++t) {
    at::Tensor logit = at::zeros({batch.num_candidates}, x.options());
    for (size_t d = 0; d < heads_.size(); ++d) {
      const at::Tensor& candidates = batch.candidates_of_domain[d];
      if (!candidates.defined()) continue;
      const bool only_domain = candidates.size(0) == batch.num_candidates;
      const at::Tensor own = heads_[d][t](only_domain ? x : x.index_select(0, candidates)).squeeze(1);
      logit = only_domain ? own : logit.index_add(0, candidates, own);
    }
    out.push_back(logit);
  }
  return out;
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
  for (const Mlp& head : heads_[0]) candidate += head.flops();
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
