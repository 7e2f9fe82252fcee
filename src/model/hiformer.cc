#include "model/hiformer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include "model/token_ops.h"

namespace uniscale::model {

Hiformer::Hiformer(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  const auto num_tasks = static_cast<int64_t>(options.tasks.size());
  const int64_t dim = options.token_dim, num_rows = tokenizer_->num_tokens() + num_tasks;
  task_token_ = uniform_parameter("task_token.weight", {num_tasks, dim}, dim, generator, dtype, parameters_);
  for (int64_t l = 0; l < options.num_layers; ++l) {
    const std::string name = fmt::format("hiformer.{}.", l);
    const int64_t num_queries = l + 1 == options.num_layers ? num_tasks : num_rows;
    const at::Tensor attention_gain =
        gain_parameter(name + "attention_norm.gain", {num_rows, dim}, dtype, parameters_);
    std::vector<CompositeProjection> projections;
    const auto add = [&](const char* part, int64_t rows, int64_t rank) {
      projections.emplace_back(name + part, num_rows * dim, rows * dim, rank, generator, dtype, parameters_);
    };
    add("query", num_queries, options.rank_qk);
    add("key", num_rows, options.rank_qk);
    add("value", num_rows, options.rank_v);
    const at::Tensor ffn_gain =
        gain_parameter(name + "ffn_norm.gain", {num_queries, dim}, dtype, parameters_);
    layers_.push_back(
        {attention_gain, projections, ffn_gain,
         TokenFfn(name + "ffn", num_queries, dim, options.ffn_ratio * dim, generator, dtype, parameters_)});
  }
  heads_ = std::make_unique<Heads>(options, spec, num_tasks * dim, generator, dtype, parameters_);
}

std::vector<at::Tensor> Hiformer::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  const int64_t dim = options_.token_dim;
  // The residual stream stays in full precision, also under autocast.
  at::Tensor request = tokens.request.to(task_token_.scalar_type());  // [R, U, D], in the first layer alone
  at::Tensor own = at::cat({tokens.candidate.to(task_token_.scalar_type()),
                            task_token_.unsqueeze(0).expand({batch.num_candidates, -1, -1})},
                           1);
  for (const Layer& layer : layers_) {
    const int64_t from_request = request.size(1), num_rows = from_request + own.size(1);
    const int64_t num_queries = layer.ffn_gain.size(0);
    const at::Tensor of_request =
        rms_norm(request, layer.attention_gain.narrow(0, 0, from_request)).flatten(1);
    const at::Tensor of_own =
        rms_norm(own, layer.attention_gain.narrow(0, from_request, own.size(1))).flatten(1);
    const auto part = [&](size_t i, int64_t rows) {
      return layer.projections[i](of_request, of_own, batch.request_of).unflatten(1, {rows, dim});
    };
    const at::Tensor attended =
        attention(part(0, num_queries), part(1, num_rows), part(2, num_rows), options_.num_heads);
    const at::Tensor x = join_sides(request, own, batch.request_of);
    const at::Tensor y = x.narrow(1, num_rows - num_queries, num_queries) + attended;
    own = y + layer.ffn(rms_norm(y, layer.ffn_gain));
    request = request.narrow(1, 0, 0);
  }
  return (*heads_)(own.flatten(1), batch);
}

json::Value Hiformer::architecture_options() const {
  return {{"token_dim", options_.token_dim},
          {"num_heads", options_.num_heads},
          {"num_layers", options_.num_layers},
          {"ffn_ratio", options_.ffn_ratio},
          {"rank_qk", options_.rank_qk},
          {"rank_v", options_.rank_v},
          {"head", options_.head},
          {"shared_head", options_.shared_head},
          {"tasks", options_.tasks}};
}

double Hiformer::flops_per_candidate(double candidates_per_request) const {
  double request = tokenizer_->request_flops(), candidate = tokenizer_->candidate_flops() + heads_->flops();
  const int64_t dim = options_.token_dim;
  for (size_t l = 0; l < layers_.size(); ++l) {
    for (const CompositeProjection& one : layers_[l].projections) {
      const Flops part = one.flops(l == 0 ? tokenizer_->num_request_tokens() * dim : 0);
      request += part.request;
      candidate += part.candidate;
    }
    const int64_t queries = layers_[l].ffn_gain.size(0), rows = layers_[l].attention_gain.size(0);
    candidate += attention_flops(queries, rows, dim) + static_cast<double>(queries) * layers_[l].ffn.flops();
  }
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
