#include "runtime/onetrans.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::runtime {

OneTrans::OneTrans(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                   const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels),
      events_(this->weights(), this->spec(), width(), precision()),
      num_layers_(options.number("num_layers", 1, 64)) {
  const int64_t most = options.number("max_events", 0, int64_t{1} << 20);
  US_REQUIRE(most == events_.max_tokens(),
             fmt::format("{}: max_events: expected {} as feature_spec.json has it, got {}", options.where(),
                         events_.max_tokens(), most));
  const HfaOptions token{.num_tokens = num_tokens(),
                         .width = width(),
                         .num_heads = num_attention_heads(options),
                         .ffn_ratio = options.number("ffn_ratio", 1, 64)};
  for (int64_t l = 0; l < num_layers_; ++l) {
    const std::string name = fmt::format("onetrans.{}.", l);
    HfaOptions event = token;
    event.num_tokens = 1;
    event.finishes = max_events(l + 1) > 0;
    std::optional<HfaLayer> of_events;
    if (max_events(l) > 0) of_events.emplace(this->weights(), name + "event", event, precision());
    layers_.push_back({std::move(of_events), HfaLayer(this->weights(), name + "token", token, precision())});
  }
  readout_gain_ =
      this->weights().require("readout.norm.gain", bundle::DType::F32, {num_tokens(), width()}).f32();
  load_heads(options, num_tokens() * width());
}

int64_t OneTrans::advance(const Compute& compute, int64_t l, int64_t num_events, std::byte* qkv,
                          float* x) const {
  const ArenaScope scope(compute.arena);
  const Layer& layer = layers_[static_cast<size_t>(l)];
  const int64_t dim = width(), tokens = num_request_tokens(), bytes = compute.operand_size();
  const int64_t go_on = std::min(num_events, max_events(l + 1)), gone = num_events - go_on;
  // Events are rows of one token, the others tokens of one row: in memory the same.
  if (num_events > 0) layer.event->project(compute, 0, 1, num_events, x, qkv);
  layer.token.project(compute, 0, tokens, 1, x + num_events * dim, qkv + num_events * 3 * dim * bytes);
  const int64_t asking = go_on + tokens;
  if (asking == 0) return 0;
  std::byte* attended = compute.take_operands(asking, dim);
  layer.token.attend(compute, asking, 1, qkv + gone * 3 * dim * bytes,
                     {.qkv = qkv, .num_tokens = gone, .num_lists = 1}, true, attended);
  std::copy(x + gone * dim, x + (num_events + tokens) * dim, x);
  if (go_on > 0) layer.event->finish(compute, 0, 1, go_on, attended, x);
  layer.token.finish(compute, 0, tokens, 1, attended + go_on * operand_width(dim) * bytes, x + go_on * dim);
  return go_on;
}

void OneTrans::prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                             RequestState::Impl& kept) const {
  const ArenaScope scope(compute.arena);
  const int64_t dim = width(), tokens = num_request_tokens(), num_requests = batch.num_requests;
  auto* last = kept.arena.take<float>(num_requests * tokens * dim);  // [R, U, D]
  kept.parts.push_back(last);
  for (int64_t r = 0; r < num_requests; ++r) {
    int64_t num_events = events_.num_tokens(batch, r);
    auto* rows = compute.arena.take<float>((num_events + tokens) * dim);
    events_(compute, batch, r, rows);
    for (int64_t t = 0; t < tokens; ++t)
      std::copy_n(x + (t * num_requests + r) * dim, dim, rows + (num_events + t) * dim);
    for (int64_t l = 0; l < num_layers_; ++l) {
      auto* keys = kept.arena.take<Keys>(1);
      keys->num_tokens = num_events + tokens;
      std::byte* qkv = kept.arena.take_bytes(keys->num_tokens * 3 * dim * compute.operand_size());
      keys->qkv = qkv;
      kept.parts.push_back(keys);
      num_events = advance(compute, l, num_events, qkv, rows);
    }
    std::copy_n(rows, tokens * dim, last + r * tokens * dim);
  }
}

void OneTrans::score_block(const Compute& compute, const Block& block, float* z) const {
  const int64_t dim = width(), from_request = num_request_tokens(), own = num_candidate_tokens();
  const Kernels& fp32 = *find_kernels(compute.kernels.isa, Precision::Fp32);
  const auto* last = static_cast<const float*>(block.parts[kLastTokens]);
  // Requests have different numbers of keys: their candidates go one request after the other.
  for (int64_t begin = 0, end = 0; begin < block.rows; begin = end) {
    const ArenaScope scope(compute.arena);
    const int64_t request = block.request_of[begin];
    while (end < block.rows && block.request_of[end] == request) ++end;
    const int64_t rows = end - begin;
    auto* x = compute.arena.take<float>(own * rows * dim);
    for (int64_t t = 0; t < own; ++t)
      std::copy_n(block.x + (t * block.rows + begin) * dim, rows * dim, x + t * rows * dim);
    auto* same_list = compute.arena.take<int32_t>(rows);
    std::fill_n(same_list, rows, 0);
    std::byte* qkv = compute.arena.take_bytes(own * rows * 3 * dim * compute.operand_size());
    for (int64_t l = 0; l < num_layers_; ++l) {
      const auto& keys =
          *static_cast<const Keys*>(block.parts[kFirstKeys + static_cast<size_t>(request * num_layers_ + l)]);
      layers_[static_cast<size_t>(l)].token(
          compute, from_request, own, rows, x, qkv,
          {.qkv = keys.qkv, .num_tokens = keys.num_tokens, .num_lists = 1, .shared_list = same_list}, true);
    }
    const auto read_out = [&](const float* from, int64_t count, int64_t token, float* to) {
      fp32.rms_norm(from, count, dim, dim, readout_gain_.data() + token * dim, kNormEpsilon, to,
                    operand_width(dim));
    };
    auto* normed = compute.arena.take<float>(std::max(rows, from_request) * operand_width(dim));
    const int64_t all = num_tokens() * dim;
    for (int64_t t = 0; t < from_request; ++t)
      read_out(last + (request * from_request + t) * dim, 1, t, normed + t * operand_width(dim));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t t = 0; t < from_request; ++t)
        std::copy_n(normed + t * operand_width(dim), dim, z + (begin + r) * all + t * dim);
    for (int64_t t = 0; t < own; ++t) {
      read_out(x + t * rows * dim, rows, from_request + t, normed);
      for (int64_t r = 0; r < rows; ++r)
        std::copy_n(normed + r * operand_width(dim), dim, z + (begin + r) * all + (from_request + t) * dim);
    }
  }
}

double OneTrans::request_flops() const {
  double sum = events_.flops();
  for (int64_t l = 0; l < num_layers_; ++l) {
    const HfaLayer& token = layers_[static_cast<size_t>(l)].token;
    const int64_t keys = max_events(l) + num_request_tokens(),
                  asking = max_events(l + 1) + num_request_tokens();
    sum += static_cast<double>(keys) * token.projection_flops() +
           static_cast<double>(asking) * (token.finishing_flops() + token.attention_flops(keys));
  }
  return sum;
}

double OneTrans::candidate_flops() const {
  double sum = 0;
  for (int64_t l = 0; l < num_layers_; ++l) {
    const HfaLayer& token = layers_[static_cast<size_t>(l)].token;
    const int64_t keys = max_events(l) + num_tokens();
    sum += static_cast<double>(num_candidate_tokens()) * (token.token_flops() + token.attention_flops(keys));
  }
  return sum;
}

}  // namespace uniscale::runtime
