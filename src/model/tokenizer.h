// Features → tokens (model.md): a group's embeddings are concatenated and an MLP maps them to D. T = U + I
// tokens: U on the request side, I on the candidate side, each side in the order of the spec.
// A history is pooled to one row by its mean, or by attention (DIN's idea as one dot product):
//   Σ_j softmax_j(e_j · (W t + b) / √dim) e_j,  t the row of the candidate's target feature, or the mean of
//   e_j
// An empty bag is 0.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "model/layers.h"
#include "model/tokens.h"

namespace uniscale::model {

class Tokenizer {
 public:
  Tokenizer(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
            at::ScalarType dtype, std::vector<Parameter>& parameters);
  Tokens operator()(const BatchTensors& batch) const;
  int64_t num_request_tokens() const { return num_request_tokens_; }         // U
  int64_t num_tokens() const { return static_cast<int64_t>(mlps_.size()); }  // T
  // Of one request, of one candidate; histories count as full.
  double request_flops() const { return flops(feature::Side::Request); }
  double candidate_flops() const { return flops(feature::Side::Candidate); }

 private:
  double flops(feature::Side side) const;
  // [rows, width] of the side of its token.
  at::Tensor feature_value(int feature, const BatchTensors& batch) const;
  const feature::FeatureSpec& spec_;
  int64_t token_dim_;
  int64_t num_request_tokens_ = 0;
  std::vector<Mlp> mlps_;               // by token of the spec
  std::map<int, Linear> pool_queries_;  // by feature that is pooled by attention
};

}  // namespace uniscale::model
