// Features → tokens (model.md): a group's embeddings are concatenated and an MLP maps them to D. T = U + I
// tokens: U on the request side, I on the candidate side, each side in the order of the spec.
#pragma once

#include <ATen/core/Tensor.h>

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
  // Of one request, of one candidate.
  double request_flops() const;
  double candidate_flops() const;

 private:
  at::Tensor feature_value(const feature::Feature& feature, const BatchTensors& batch) const;
  const feature::FeatureSpec& spec_;
  int64_t token_dim_;
  int64_t num_request_tokens_ = 0;
  std::vector<Mlp> mlps_;  // by token of the spec
};

}  // namespace uniscale::model
