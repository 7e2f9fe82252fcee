#include "model/hhsft.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "model/fast_ops.h"
#include "model/token_ops.h"

namespace uniscale::model {

Hhsft::Hhsft(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options), dtype_(dtype) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  num_last_ = tokenizer_->num_tokens();
  last_dim_ = options.token_dim;
  for (int64_t l = 0; l < options.num_layers; ++l)
    hfa_.emplace_back(fmt::format("hfa.{}", l), options, num_last_, generator, dtype, parameters_);
  for (int64_t g = 0; g < (options.gfa ? options.gfa_layers : 0); ++g) {
    gfa_.emplace_back(fmt::format("gfa.{}", g), options, num_last_, last_dim_, generator, dtype, parameters_);
    num_last_ = gfa_.back().num_tokens();
    last_dim_ = options.gfa_dim;
  }
  readout_gain_ = gain_parameter("readout.norm.gain", {num_last_, last_dim_}, dtype, parameters_);
  std::vector<int64_t> widths{num_last_ * last_dim_};
  widths.insert(widths.end(), options.readout.begin(), options.readout.end());
  readout_ = std::make_unique<Mlp>("readout", widths, Activation::Gelu, generator, dtype, parameters_);
  dref_ =
      std::make_unique<Dref>(options, spec.domains(), options.readout.back(), generator, dtype, parameters_);
  int64_t width = options.dref_expert.back();
  if (options.dapga) {
    choose_gate_tokens(spec);
    const int64_t gate_in = static_cast<int64_t>(gate_tokens_.size()) * options.token_dim;
    dapga_ = std::make_unique<Dapga>(options, spec.domains(), width, gate_in, generator, dtype, parameters_);
    width = options.dapga_expert.back();
  }
  heads_ = std::make_unique<Heads>(options, spec, width, generator, dtype, parameters_);
}

void Hhsft::choose_gate_tokens(const feature::FeatureSpec& spec) {
  std::vector<std::string> names;
  for (const feature::Token& token : spec.tokens()) {
    if (token.side == feature::Side::Request) names.push_back(token.name);
  }
  std::vector<std::string>& chosen = options_.gate_tokens;
  if (chosen.empty()) {
    for (const char* name : {"user", "domain"}) {
      if (std::find(names.begin(), names.end(), name) != names.end()) chosen.emplace_back(name);
    }
    if (chosen.empty()) chosen = names;
    US_REQUIRE(!chosen.empty(), "model.dapga: its gate reads request-side tokens, and there are none");
  }
  for (const std::string& name : chosen) {
    const auto at = std::find(names.begin(), names.end(), name);
    US_REQUIRE(at != names.end(), fmt::format("model.gate_tokens: expected request-side tokens ({}), got {}",
                                              fmt::join(names, ", "), name));
    gate_tokens_.push_back(at - names.begin());
  }
}

std::vector<at::Tensor> Hhsft::logits(const BatchTensors& batch) const {
  const FastOpsScope scope(options_.ops == "fast" && c10::GradMode::is_enabled());
  const Tokens tokens = (*tokenizer_)(batch);
  // The residual stream stays in full precision, also under autocast.
  Tokens x{tokens.request.to(dtype_), tokens.candidate.to(dtype_)};
  at::Tensor gate;  // [R, gate tokens · D]
  if (dapga_) gate = x.request.index_select(1, at::tensor(at::ArrayRef<int64_t>(gate_tokens_))).flatten(1);
  for (const HfaLayer& layer : hfa_) x = layer(x, batch.request_of);
  for (const GfaLayer& layer : gfa_) x = layer(x, batch.request_of);
  const at::Tensor z = readout_->normed_split(x, readout_gain_, batch.request_of);
  const at::Tensor e = (*dref_)(z, batch);
  return (*heads_)(dapga_ ? (*dapga_)(e, gate, batch) : e, batch);
}

json::Value Hhsft::architecture_options() const {
  const Options& o = options_;
  return {{"token_dim", o.token_dim},
          {"num_heads", o.num_heads},
          {"num_layers", o.num_layers},
          {"ffn_ratio", o.ffn_ratio},
          {"mask", o.mask},
          {"gfa", o.gfa},
          {"gfa_layers", o.gfa_layers},
          {"gfa_tokens", gfa_.empty() ? num_last_ : gfa_[0].num_tokens()},
          {"gfa_dim", o.gfa_dim},
          {"rank_qk", o.rank_qk},
          {"rank_v", o.rank_v},
          {"gfa_skip", o.gfa_skip},
          {"readout", o.readout},
          {"dref", o.dref},
          {"dref_expert", o.dref_expert},
          {"dref_gate", o.dref_gate},
          {"dapga", o.dapga},
          {"dapga_expert", o.dapga_expert},
          {"dapga_gate", o.dapga_gate},
          {"gate_tokens", o.gate_tokens},
          {"head", o.head},
          {"shared_head", o.shared_head},
          {"tasks", o.tasks}};
}

double Hhsft::flops_per_candidate(double candidates_per_request) const {
  Flops sum{tokenizer_->request_flops(), tokenizer_->candidate_flops()};
  const auto add = [&](const Flops& part) {
    sum.request += part.request;
    sum.candidate += part.candidate;
  };
  int64_t num_request = tokenizer_->num_request_tokens();
  for (const HfaLayer& layer : hfa_) {
    add(layer.flops(num_request));
    if (options_.mask == "none") num_request = 0;
  }
  for (const GfaLayer& layer : gfa_) {
    add(layer.flops(num_request));
    num_request = 0;
  }
  const double split = 2.0 * static_cast<double>(num_request * last_dim_ * options_.readout[0]);
  add({split, readout_->flops() - split + dref_->flops() + heads_->flops()});
  if (dapga_) add({dapga_->request_flops(), dapga_->candidate_flops()});
  return sum.candidate + sum.request / candidates_per_request;
}

}  // namespace uniscale::model
