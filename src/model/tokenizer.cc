#include "model/tokenizer.h"

#include <ATen/ATen.h>

#include <cmath>

namespace uniscale::model {
namespace {

// Bags side by side: rows [B, longest, dim], 0 where a bag has ended; valid [B, longest].
struct Padded {
  at::Tensor rows, valid;
};

Padded padded(const at::Tensor& rows, const at::Tensor& ids, const at::Tensor& offsets) {
  const at::Tensor ends =
      at::cat({offsets.narrow(0, 1, offsets.size(0) - 1), at::full({1}, ids.numel(), offsets.options())});
  const at::Tensor lengths = (ends - offsets).unsqueeze(1);
  const at::Tensor place = at::arange(lengths.max().item<int64_t>(), offsets.options()).unsqueeze(0);
  const at::Tensor valid = place < lengths;  // [B, longest]
  const at::Tensor at_ids = (offsets.unsqueeze(1) + place).clamp_max(ids.numel() - 1);
  const at::Tensor of_bag = ids.index_select(0, at_ids.flatten());
  const at::Tensor values = rows.index_select(0, of_bag).view({valid.size(0), valid.size(1), rows.size(1)});
  return {values * valid.unsqueeze(2).to(rows.scalar_type()), valid};
}

// query [B, dim] → [B, dim].
at::Tensor attend(const at::Tensor& query, const Padded& events) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(query.size(1)));
  const at::Tensor scores = (events.rows * query.unsqueeze(1)).sum(2) * scale;  // [B, longest]
  // Finite, so that an empty bag gives shares of zero rows and not NaN.
  const at::Tensor shares = at::softmax(scores.masked_fill(events.valid.logical_not(), -1e30), 1);
  return (events.rows * shares.unsqueeze(2)).sum(1);
}

}  // namespace

Tokenizer::Tokenizer(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
                     at::ScalarType dtype, std::vector<Parameter>& parameters)
    : spec_(spec), token_dim_(token_dim) {
  for (size_t f = 0; f < spec.features().size(); ++f) {
    const feature::Feature& feature = spec.features()[f];
    if (feature.pooling == feature::Pooling::Mean) continue;
    const int64_t in =
        feature.target < 0 ? feature.dim : spec.features()[static_cast<size_t>(feature.target)].dim;
    pool_queries_.emplace(static_cast<int>(f),
                          Linear("pool." + feature.name, in, feature.dim, generator, dtype, parameters));
  }
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    mlps_.emplace_back("token." + spec.tokens()[t].name,
                       std::vector<int64_t>{spec.token_input_dim(static_cast<int>(t)), token_dim, token_dim},
                       Activation::Gelu, generator, dtype, parameters);
    num_request_tokens_ += spec.tokens()[t].side == feature::Side::Request ? 1 : 0;
  }
}

at::Tensor Tokenizer::feature_value(int index, const BatchTensors& batch) const {
  const feature::Feature& feature = spec_.features()[static_cast<size_t>(index)];
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) return batch.floats[slot];  // [rows, width]
  const at::Tensor& rows = batch.rows[static_cast<size_t>(feature.table)];
  const at::Tensor& offsets = batch.offsets[slot];
  if (!offsets.defined()) return rows.index_select(0, batch.ids[slot]);  // [rows, dim]
  const bool by_candidate = feature.pooling == feature::Pooling::Target;
  if (batch.ids[slot].numel() == 0) {
    return at::zeros({by_candidate ? batch.num_candidates : offsets.size(0), rows.size(1)}, rows.options());
  }
  const auto mean = [&] {
    return std::get<0>(
        at::embedding_bag(rows, batch.ids[slot], offsets, /*scale_grad_by_freq=*/false, /*mode=*/1));
  };
  if (feature.pooling == feature::Pooling::Mean) return mean();
  const at::Tensor query =
      pool_queries_.at(index)(by_candidate ? feature_value(feature.target, batch) : mean());
  const Padded events = padded(rows, batch.ids[slot], offsets);
  if (!by_candidate) return attend(query, events);
  return attend(
      query, {events.rows.index_select(0, batch.request_of), events.valid.index_select(0, batch.request_of)});
}

Tokens Tokenizer::operator()(const BatchTensors& batch) const {
  std::vector<at::Tensor> request, candidate;
  for (size_t t = 0; t < mlps_.size(); ++t) {
    const feature::Token& token = spec_.tokens()[t];
    std::vector<at::Tensor> parts;
    for (int f : token.features) parts.push_back(feature_value(f, batch));
    auto& side = token.side == feature::Side::Request ? request : candidate;
    side.push_back(mlps_[t](at::cat(parts, 1)));
  }
  const auto stacked = [&](const std::vector<at::Tensor>& side, int64_t rows) {
    if (!side.empty()) return at::stack(side, 1);
    return at::zeros({rows, 0, token_dim_}, at::TensorOptions().dtype(mlps_[0].dtype()));
  };
  return {stacked(request, batch.num_requests), stacked(candidate, batch.num_candidates)};
}

double Tokenizer::flops(feature::Side side) const {
  double sum = 0;
  for (size_t t = 0; t < mlps_.size(); ++t) sum += spec_.tokens()[t].side == side ? mlps_[t].flops() : 0.0;
  for (const auto& [f, query] : pool_queries_) {
    const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
    if (feature.value_side() == side)
      sum += query.flops() + 4.0 * static_cast<double>(feature.max_length * feature.dim);
  }
  return sum;
}

}  // namespace uniscale::model
