// HiFormer (paper §3.5; 2311.05884): composite projections of all tokens, read out from one task token a
// task. N = T + K rows, the K task tokens last; the last layer computes those alone: M = K rows there, N
// before.
//   a = [rms(X_1); …; rms(X_N)];  Q = Ŵ^Q a as M rows, K, V = Ŵ^K a, Ŵ^V a as N rows, heads of D/H
//   X ← (last M rows of X) + softmax(Q Kᵀ/√(D/H)) V
//   X ← X + ffn_i(rms(X_i)),   ffn_i(y) = W1_i gelu(W0_i y + b0_i) + b1_i
//   z = [X_1; …; X_K]
// Ŵ full or of low rank, joint over heads. In the first layer its request-side columns are multiplied once a
// request. Norm and residual before attention and FFN, no output projection: as its public ports have it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/gfa.h"
#include "model/token_model.h"
#include "model/trunk.h"

namespace uniscale::model {

class Hiformer final : public TokenModel {
 public:
  Hiformer(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  struct Layer {
    at::Tensor attention_gain;                     // [N, D]
    std::vector<CompositeProjection> projections;  // query, key, value
    at::Tensor ffn_gain;                           // [M, D]
    TokenFfn ffn;
  };

  at::Tensor task_token_;  // [K, D]
  std::vector<Layer> layers_;
};

}  // namespace uniscale::model
