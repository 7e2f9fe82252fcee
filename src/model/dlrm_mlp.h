// DLRM-MLP (paper §3.1): all tokens concatenated, one MLP, a head per domain and task.
//   x = [request tokens; candidate tokens] ∈ R^{T·D}
//   z = relu(W_L … relu(W_1 x + b_1) … + b_L)
//   logit_{d,t} = head_{d,t}(z), relu inside
// The first trunk layer splits exactly, W_1 x = W_1[:, request] x_r + W_1[:, candidate] x_c, so the request
// side of the product is computed once a request.
#pragma once

#include <memory>

#include "model/layers.h"
#include "model/token_model.h"

namespace uniscale::model {

class DlrmMlp final : public TokenModel {
 public:
  DlrmMlp(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  std::unique_ptr<Mlp> trunk_;
};

}  // namespace uniscale::model
