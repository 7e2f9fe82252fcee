// Features → tokens (model.md): a group's embeddings are concatenated and an MLP maps them to D.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/layers.h"

namespace uniscale::model {

struct Tokens {
  std::vector<at::Tensor> request;    // by request-side token: [R, D]
  std::vector<at::Tensor> candidate;  // by candidate-side token: [C, D]
};

class Tokenizer {
 public:
  Tokenizer(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
            at::ScalarType dtype, std::vector<Parameter>& parameters);
  Tokens operator()(const BatchTensors& batch) const;
  double request_flops() const;
  double candidate_flops() const;

 private:
  at::Tensor feature_value(const feature::Feature& feature, const BatchTensors& batch) const;
  const feature::FeatureSpec& spec_;
  std::vector<Mlp> mlps_;  // by token of the spec
};

}  // namespace uniscale::model
