#include "model/onetrans.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <cmath>

#include "model/token_ops.h"

namespace uniscale::model {
namespace {

// Softmax turns it into exactly 0 beside any real score, and into equal shares where nothing else stands (a
// padded row, which nobody reads); −∞ would make that row NaN.
constexpr double kForbidden = -1e30;

at::Tensor split_heads(const at::Tensor& x, int64_t num_heads) {
  return x.unflatten(2, {num_heads, x.size(2) / num_heads}).transpose(1, 2);
}

// allowed [B or 1, 1, T_q, T_k] bool.
at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& allowed, int64_t num_heads) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2) / num_heads));
  const at::Tensor scores =
      at::matmul(split_heads(q * scale, num_heads), split_heads(k, num_heads).transpose(2, 3));
  const at::Tensor shares = at::softmax(scores.masked_fill(allowed.logical_not(), kForbidden), -1);
  return at::matmul(shares, split_heads(v, num_heads)).transpose(1, 2).flatten(2);
}

// The last `queries` of `keys` places: each may ask itself and those before it.
at::Tensor causal(int64_t queries, int64_t keys) {
  return at::ones({queries, keys}, at::kBool).tril(keys - queries);
}

}  // namespace

OneTrans::OneTrans(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype)
    : TokenModel(options) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.init_seed) + 1);
  tokenizer_ = std::make_unique<Tokenizer>(spec, options.token_dim, generator, dtype, parameters_);
  events_ = std::make_unique<EventTokens>(spec, options.token_dim, generator, dtype, parameters_);
  const int64_t num_tokens = tokenizer_->num_tokens();
  for (int64_t l = 0; l < options.num_layers; ++l) {
    const std::string event = fmt::format("onetrans.{}.event.", l),
                      token = fmt::format("onetrans.{}.token.", l);
    std::optional<Asking> event_asking;
    std::optional<Finishing> event_finishing;
    if (max_events(l) > 0) event_asking = make_asking(event, 1, generator, dtype);
    if (max_events(l + 1) > 0) event_finishing = make_finishing(event, 1, generator, dtype);
    const Asking token_asking = make_asking(token, num_tokens, generator, dtype);
    layers_.push_back(
        {event_asking, event_finishing, token_asking, make_finishing(token, num_tokens, generator, dtype)});
  }
  readout_gain_ = gain_parameter("readout.norm.gain", {num_tokens, options.token_dim}, dtype, parameters_);
  heads_ =
      std::make_unique<Heads>(options, spec, num_tokens * options.token_dim, generator, dtype, parameters_);
}

OneTrans::Asking OneTrans::make_asking(const std::string& name, int64_t num_tokens, at::Generator& generator,
                                       at::ScalarType dtype) {
  const int64_t dim = options_.token_dim;
  const at::Tensor gain = gain_parameter(name + "attention_norm.gain", {num_tokens, dim}, dtype, parameters_);
  return {gain, uniform_parameter(name + "qkv.weight", {num_tokens, 3 * dim, dim}, dim, generator, dtype,
                                  parameters_)};
}

OneTrans::Finishing OneTrans::make_finishing(const std::string& name, int64_t num_tokens,
                                             at::Generator& generator, at::ScalarType dtype) {
  const int64_t dim = options_.token_dim;
  const at::Tensor output =
      uniform_parameter(name + "output.weight", {num_tokens, dim, dim}, dim, generator, dtype, parameters_);
  const at::Tensor ffn_gain = gain_parameter(name + "ffn_norm.gain", {num_tokens, dim}, dtype, parameters_);
  return {output, ffn_gain,
          TokenFfn(name + "ffn", num_tokens, dim, options_.ffn_ratio * dim, generator, dtype, parameters_)};
}

int64_t OneTrans::max_events(int64_t l) const {
  return events_->max_tokens() * (options_.num_layers - l) / options_.num_layers;
}

at::Tensor OneTrans::project(const Layer& layer, const at::Tensor& x, int64_t num_events,
                             int64_t first) const {
  const int64_t num_tokens = x.size(1) - num_events;
  std::vector<at::Tensor> parts;
  if (num_events > 0) {
    const Asking& block = *layer.event_asking;
    parts.push_back(at::linear(rms_norm(x.narrow(1, 0, num_events), block.attention_gain), block.qkv[0]));
  }
  if (num_tokens > 0) {
    const Asking& block = layer.token_asking;
    parts.push_back(per_token_linear(
        rms_norm(x.narrow(1, num_events, num_tokens), block.attention_gain.narrow(0, first, num_tokens)),
        block.qkv.narrow(0, first, num_tokens)));
  }
  return at::cat(parts, 1);
}

at::Tensor OneTrans::finish(const Layer& layer, const at::Tensor& x, const at::Tensor& attended,
                            int64_t num_events, int64_t first) const {
  const int64_t num_tokens = x.size(1) - num_events;
  std::vector<at::Tensor> parts;
  if (num_events > 0) {
    const Finishing& block = *layer.event_finishing;
    const at::Tensor y =
        x.narrow(1, 0, num_events) + at::linear(attended.narrow(1, 0, num_events), block.output[0]);
    // Every event as a row of the one token there is.
    const at::Tensor rows = rms_norm(y, block.ffn_gain).flatten(0, 1).unsqueeze(1);
    parts.push_back(y + block.ffn(rows).view(y.sizes()));
  }
  if (num_tokens > 0) {
    const Finishing& block = layer.token_finishing;
    const at::Tensor y =
        x.narrow(1, num_events, num_tokens) + per_token_linear(attended.narrow(1, num_events, num_tokens),
                                                               block.output.narrow(0, first, num_tokens));
    parts.push_back(y + block.ffn(rms_norm(y, block.ffn_gain.narrow(0, first, num_tokens)), first));
  }
  return at::cat(parts, 1);
}

std::vector<at::Tensor> OneTrans::logits(const BatchTensors& batch) const {
  const Tokens tokens = (*tokenizer_)(batch);
  const EventTokens::Padded events = (*events_)(batch);
  // The residual stream stays in full precision, also under autocast.
  const at::ScalarType dtype = readout_gain_.scalar_type();
  const int64_t num_request = tokens.request.size(1), num_candidate = tokens.candidate.size(1);
  at::Tensor request = at::cat({events.tokens, tokens.request.to(dtype)}, 1);  // [R, P + U, D]
  at::Tensor candidate = tokens.candidate.to(dtype);                           // [C, I, D]
  at::Tensor valid =
      at::cat({events.valid, at::ones({batch.num_requests, num_request}, at::kBool)}, 1);  // [R, P + U]
  int64_t l = 0;
  for (const Layer& layer : layers_) {
    const int64_t keys = request.size(1), num_events = keys - num_request;
    const int64_t next_events = std::min(num_events, max_events(++l)), queries = next_events + num_request;
    std::vector<at::Tensor> of_request(3, at::zeros({batch.num_requests, 0, options_.token_dim}, dtype));
    if (keys > 0) of_request = project(layer, request, num_events, 0).chunk(3, 2);
    if (num_candidate > 0) {
      const std::vector<at::Tensor> own = project(layer, candidate, 0, num_request).chunk(3, 2);
      const at::Tensor allowed =
          at::cat({valid.index_select(0, batch.request_of).unsqueeze(1).expand({-1, num_candidate, -1}),
                   causal(num_candidate, num_candidate).unsqueeze(0).expand({batch.num_candidates, -1, -1})},
                  2);
      const at::Tensor attended = masked_attention(
          own[0], join_sides(of_request[1], own[1], batch.request_of),
          join_sides(of_request[2], own[2], batch.request_of), allowed.unsqueeze(1), options_.num_heads);
      candidate = finish(layer, candidate, attended, 0, num_request);
    }
    if (queries > 0) {
      const at::Tensor allowed = causal(queries, keys).unsqueeze(0).logical_and(valid.unsqueeze(1));
      const at::Tensor attended =
          masked_attention(of_request[0].narrow(1, keys - queries, queries), of_request[1], of_request[2],
                           allowed.unsqueeze(1), options_.num_heads);
      request = finish(layer, request.narrow(1, keys - queries, queries), attended, next_events, 0);
    } else {
      request = request.narrow(1, 0, 0);
    }
    valid = valid.narrow(1, keys - queries, queries);
  }
  const at::Tensor x = join_sides(request, candidate, batch.request_of);  // [C, T, D]
  return (*heads_)(rms_norm(x, readout_gain_).flatten(1), batch);
}

json::Value OneTrans::architecture_options() const {
  return {{"token_dim", options_.token_dim},     {"num_heads", options_.num_heads},
          {"num_layers", options_.num_layers},   {"ffn_ratio", options_.ffn_ratio},
          {"max_events", events_->max_tokens()}, {"head", options_.head},
          {"shared_head", options_.shared_head}, {"tasks", options_.tasks}};
}

double OneTrans::flops_per_candidate(double candidates_per_request) const {
  const int64_t u = tokenizer_->num_request_tokens(), i = tokenizer_->num_tokens() - u;
  const int64_t dim = options_.token_dim;
  double request = tokenizer_->request_flops() + events_->flops();
  double candidate = tokenizer_->candidate_flops() + heads_->flops();
  for (int64_t l = 0; l < options_.num_layers; ++l) {
    const int64_t keys = max_events(l) + u, queries = max_events(l + 1) + u;
    const double projection = 6.0 * static_cast<double>(dim * dim);
    const double rest = 2.0 * static_cast<double>(dim * dim) + layers_[0].token_finishing.ffn.flops();
    request += static_cast<double>(keys) * projection + static_cast<double>(queries) * rest +
               attention_flops(queries, keys, dim);
    candidate += static_cast<double>(i) * (projection + rest) + attention_flops(i, keys + i, dim);
  }
  return candidate + request / candidates_per_request;
}

}  // namespace uniscale::model
