#include "runtime/dcnv2.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace uniscale::runtime {

Dcnv2::Dcnv2(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
             const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels) {
  rank_ = options.number("cross_rank", 0, kMaxWidth);
  num_experts_ = options.number("cross_experts", 1, 64);
  US_REQUIRE(
      num_experts_ == 1 || rank_ > 0,
      fmt::format("{}: cross_experts: expected 1 with cross_rank 0, got {}", options.where(), num_experts_));
  for (int64_t l = 0; l < options.number("num_layers", 0, 64); ++l)
    layers_.push_back(load_layer(l, rank_, num_experts_));
  std::vector<int64_t> widths = options.widths("trunk", 1);
  widths.insert(widths.begin(), num_tokens() * width());
  trunk_ = Mlp(this->weights(), "trunk", widths, Activation::Relu, precision());
  load_heads(options, widths.back());
}

Dcnv2::Layer Dcnv2::load_layer(int64_t l, int64_t rank, int64_t num_experts) const {
  const std::string name = fmt::format("cross.{}", l);
  const int64_t all = num_tokens() * width();
  const int64_t shared = l == 0 ? num_request_tokens() : 0;
  const auto read = [&](const std::string& part, const std::vector<int64_t>& shape) {
    return weights().require(name + part, bundle::DType::F32, shape).f32();
  };
  const auto split = [&](std::span<const float> weight, std::span<const float> bias, int64_t out) {
    return SplitLinear(precision(), weight.data(), bias, out, shared, num_tokens() - shared, width());
  };
  const auto bias = read(".bias", {all});
  Layer layer;
  if (rank == 0) {
    layer.wide = split(read(".weight", {all, all}), bias, all);
    return layer;
  }
  const bool mixture = num_experts > 1;
  const auto shape = [&](int64_t out, int64_t in) {
    return mixture ? std::vector<int64_t>{num_experts, out, in} : std::vector<int64_t>{out, in};
  };
  layer.wide = split(read(".down.weight", shape(rank, all)), {}, num_experts * rank);
  const auto up = read(".up.weight", shape(all, rank));
  // [E, F, r] → [F, E · r]: one product sums the experts.
  std::vector<float> together(up.size());
  for (int64_t k = 0; k < num_experts; ++k)
    for (int64_t f = 0; f < all; ++f)
      std::copy_n(up.begin() + (k * all + f) * rank, rank, together.begin() + (f * num_experts + k) * rank);
  layer.up = Linear(precision(), together.data(), bias, all, num_experts * rank, num_experts * rank);
  if (!mixture) return layer;
  layer.gate = split(read(".gate.weight", {num_experts, all}), {}, num_experts);
  const auto middle = read(".middle.weight", {num_experts, rank, rank});
  for (int64_t k = 0; k < num_experts; ++k)
    layer.middle.emplace_back(precision(), middle.data() + k * rank * rank, std::span<const float>(), rank,
                              rank, rank);
  return layer;
}

void Dcnv2::prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                          RequestState::Impl& kept) const {
  const int64_t rows = batch.num_requests, tokens = num_request_tokens();
  float *wide = nullptr, *gate = nullptr;
  if (tokens > 0 && !layers_.empty()) {
    const Layer& first = layers_[0];
    const OperandTokens of_request{as_operands(compute, x, tokens * rows, width()), tokens, rows, width()};
    wide = kept.arena.take<float>(rows * first.wide.out());
    first.wide.shared_part(compute, of_request, wide);
    if (num_experts_ > 1) {
      gate = kept.arena.take<float>(rows * num_experts_);
      first.gate.shared_part(compute, of_request, gate);
    }
  }
  kept.parts.push_back(wide);
  kept.parts.push_back(gate);
}

void Dcnv2::mix_experts(const Compute& compute, const Layer& layer, int64_t rows, float* down,
                        float* gate) const {
  const int64_t all = num_experts_ * rank_;
  for (int64_t i = 0; i < rows * all; ++i) down[i] = std::tanh(down[i]);
  for (int64_t k = 0; k < num_experts_; ++k) {
    const ArenaScope scope(compute.arena);
    std::byte* operands = compute.take_operands(rows, rank_);
    compute.kernels.to_operands(down + k * rank_, rows, rank_, all, operands, operand_width(rank_));
    layer.middle[static_cast<size_t>(k)](compute, {operands, 1, rows, rank_},
                                         {.data = down + k * rank_, .stride = all});
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* logits = gate + r * num_experts_;
    const float most = *std::max_element(logits, logits + num_experts_);
    float sum = 0;
    for (int64_t k = 0; k < num_experts_; ++k) sum += logits[k] = std::exp(logits[k] - most);
    for (int64_t k = 0; k < num_experts_; ++k)
      for (int64_t i = 0; i < rank_; ++i) {
        float& value = down[r * all + k * rank_ + i];
        value = logits[k] / sum * std::tanh(value);
      }
  }
}

void Dcnv2::score_block(const Compute& compute, const Block& block, float* z) const {
  const int64_t rows = block.rows, all = num_tokens() * width();
  const float* x0 = join_rows(compute, block);
  auto* x = compute.arena.take<float>(rows * all);
  std::copy_n(x0, rows * all, x);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const ArenaScope scope(compute.arena);
    const Layer& layer = layers_[l];
    const bool first = l == 0;
    const int64_t tokens = num_candidate_tokens();
    const OperandTokens in =
        first ? OperandTokens{as_operands(compute, block.x, tokens * rows, width()), tokens, rows, width()}
              : OperandTokens{as_operands(compute, x, rows, all), 1, rows, all};
    const auto product = [&](const SplitLinear& linear, size_t part) {
      auto* y = compute.arena.take<float>(rows * linear.out());
      linear(compute, in, first ? static_cast<const float*>(block.parts[part]) : nullptr, block.request_of,
             {.data = y, .stride = linear.out()});
      return y;
    };
    float* crossed = product(layer.wide, 0);
    if (rank_ > 0) {
      if (num_experts_ > 1) mix_experts(compute, layer, rows, crossed, product(layer.gate, 1));
      const std::byte* low = as_operands(compute, crossed, rows, layer.wide.out());
      crossed = compute.arena.take<float>(rows * all);
      layer.up(compute, {low, 1, rows, layer.wide.out()}, {.data = crossed, .stride = all});
    }
    for (int64_t i = 0; i < rows * all; ++i) x[i] += x0[i] * crossed[i];
  }
  trunk_(compute, {as_operands(compute, x, rows, all), 1, rows, all},
         {.data = z, .stride = trunk_.out(), .activation = Activation::Relu});
}

double Dcnv2::request_flops() const {
  if (layers_.empty()) return 0;
  return layers_[0].wide.shared_flops() + layers_[0].gate.shared_flops();
}

double Dcnv2::candidate_flops() const {
  double sum = trunk_.flops();
  for (const Layer& layer : layers_) {
    sum += layer.wide.own_flops() + layer.gate.own_flops() + layer.up.flops();
    for (const Linear& middle : layer.middle) sum += middle.flops();
  }
  return sum;
}

}  // namespace uniscale::runtime
