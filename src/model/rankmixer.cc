#include "model/rankmixer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "model/token_ops.h"

namespace uniscale::model {

RankMixer::RankMixer(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  const int64_t dim = options.token_dim, num_tokens = tokenizer_->num_tokens();
  for (num_segments_ = std::min(num_tokens, dim); dim % num_segments_ != 0;) --num_segments_;
  if (num_segments_ != num_tokens) {
    const int64_t width = num_tokens * dim / num_segments_;
    segment_ = uniform_parameter("mixer.segment.weight", {num_segments_, dim, width}, width, generator, dtype,
                                 parameters_);
    segment_bias_ =
        uniform_parameter("mixer.segment.bias", {num_segments_, dim}, width, generator, dtype, parameters_);
    parameters_.back().decays = false;
    request_segments_ = tokenizer_->num_request_tokens() * dim / width;
  }
  for (int64_t l = 0; l < options.num_layers; ++l) {
    const std::string name = fmt::format("mixer.{}.", l);
    const LayerNorm mix_norm(name + "mix_norm", dim, dtype, parameters_);
    const TokenFfn ffn(name + "ffn", num_segments_, dim, options.ffn_ratio * dim, generator, dtype,
                       parameters_);
    layers_.push_back({mix_norm, LayerNorm(name + "ffn_norm", dim, dtype, parameters_), ffn});
  }
  heads_ = std::make_unique<Heads>(options, spec, dim, generator, dtype, parameters_);
}

at::Tensor RankMixer::segments(const Tokens& tokens, const at::Tensor& request_of) const {
  const at::Tensor joined = join_sides(tokens.request, tokens.candidate, request_of);  // [C, T, D]
  if (!segment_.defined()) return joined;
  const int64_t width = segment_.size(2), first = request_segments_, rest = num_segments_ - first;
  const auto projected = [&](const at::Tensor& x, int64_t from, int64_t count) {
    return per_token_linear(x.unflatten(1, {count, width}), segment_.narrow(0, from, count),
                            segment_bias_.narrow(0, from, count));
  };
  std::vector<at::Tensor> parts;
  if (first > 0) {
    const at::Tensor of_request = projected(tokens.request.flatten(1).narrow(1, 0, first * width), 0, first);
    parts.push_back(of_request.index_select(0, request_of));
  }
  if (rest > 0)
    parts.push_back(projected(joined.flatten(1).narrow(1, first * width, rest * width), first, rest));
  return at::cat(parts, 1);
}

std::vector<at::Tensor> RankMixer::logits(const BatchTensors& batch) const {
  at::Tensor x = segments((*tokenizer_)(batch), batch.request_of);  // [C, S, D]
  for (const Layer& layer : layers_) {
    // [C, S, S, D/S]: part h of token s; mixed token h has part h of every s.
    const at::Tensor mixed =
        x.unflatten(2, {num_segments_, options_.token_dim / num_segments_}).transpose(1, 2).flatten(2);
    const at::Tensor y = layer.mix_norm(mixed + x);
    x = layer.ffn_norm(layer.ffn(y) + y);
  }
  return (*heads_)(x.mean(1), batch);
}

json::Value RankMixer::architecture_options() const {
  return {{"token_dim", options_.token_dim}, {"num_layers", options_.num_layers},
          {"ffn_ratio", options_.ffn_ratio}, {"segments", num_segments_},
          {"head", options_.head},           {"shared_head", options_.shared_head},
          {"tasks", options_.tasks}};
}

double RankMixer::flops_per_candidate(double candidates_per_request) const {
  double request = tokenizer_->request_flops(), candidate = tokenizer_->candidate_flops() + heads_->flops();
  if (segment_.defined()) {
    const double one = 2.0 * static_cast<double>(segment_.size(1) * segment_.size(2));
    request += one * static_cast<double>(request_segments_);
    candidate += one * static_cast<double>(num_segments_ - request_segments_);
  }
  for (const Layer& layer : layers_) candidate += static_cast<double>(num_segments_) * layer.ffn.flops();
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
