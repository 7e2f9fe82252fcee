#include "model/tokenizer.h"

#include <ATen/ATen.h>

namespace uniscale::model {

Tokenizer::Tokenizer(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
                     at::ScalarType dtype, std::vector<Parameter>& parameters)
    : spec_(spec), token_dim_(token_dim) {
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    mlps_.emplace_back("token." + spec.tokens()[t].name,
                       std::vector<int64_t>{spec.token_input_dim(static_cast<int>(t)), token_dim, token_dim},
                       Activation::Gelu, generator, dtype, parameters);
    num_request_tokens_ += spec.tokens()[t].side == feature::Side::Request ? 1 : 0;
  }
}

at::Tensor Tokenizer::feature_value(const feature::Feature& feature, const BatchTensors& batch) const {
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) return batch.floats[slot];  // [rows, width]
  const at::Tensor& rows = batch.rows[static_cast<size_t>(feature.table)];
  const at::Tensor& offsets = batch.offsets[slot];
  if (!offsets.defined()) return rows.index_select(0, batch.ids[slot]);  // [rows, dim]
  // Mean over the bag; an empty bag is 0.
  if (batch.ids[slot].numel() == 0) return at::zeros({offsets.size(0), rows.size(1)}, rows.options());
  return std::get<0>(
      at::embedding_bag(rows, batch.ids[slot], offsets, /*scale_grad_by_freq=*/false, /*mode=*/1));
}

Tokens Tokenizer::operator()(const BatchTensors& batch) const {
  std::vector<at::Tensor> request, candidate;
  for (size_t t = 0; t < mlps_.size(); ++t) {
    const feature::Token& token = spec_.tokens()[t];
    std::vector<at::Tensor> parts;
    for (int f : token.features)
      parts.push_back(feature_value(spec_.features()[static_cast<size_t>(f)], batch));
    auto& side = token.side == feature::Side::Request ? request : candidate;
    side.push_back(mlps_[t](at::cat(parts, 1)));
  }
  const auto stacked = [&](const std::vector<at::Tensor>& side, int64_t rows) {
    if (!side.empty()) return at::stack(side, 1);
    return at::zeros({rows, 0, token_dim_}, at::TensorOptions().dtype(mlps_[0].dtype()));
  };
  return {stacked(request, batch.num_requests), stacked(candidate, batch.num_candidates)};
}

double Tokenizer::request_flops() const {
  double sum = 0;
  for (size_t t = 0; t < mlps_.size(); ++t)
    sum += spec_.tokens()[t].side == feature::Side::Request ? mlps_[t].flops() : 0.0;
  return sum;
}

double Tokenizer::candidate_flops() const {
  double sum = 0;
  for (size_t t = 0; t < mlps_.size(); ++t)
    sum += spec_.tokens()[t].side == feature::Side::Candidate ? mlps_[t].flops() : 0.0;
  return sum;
}

}  // namespace uniscale::model
