// Wukong (paper §3.3; 2403.02545): layers of a factorisation machine block beside a linear compression block.
// X ∈ R^{n×D}, n = T at first, then n_F + n_L rows.
//   fm  = X (Xᵀ Y) ∈ R^{n×k}
//   FMB = reshape_{n_F×D}(mlp(ln(flatten(fm)))),   LCB = W_L X ∈ R^{n_L×D}
//   X  ← ln([FMB; LCB] + X)    (or … + W_R X if the numbers of rows differ)
//   z   = trunk(flatten(X))
// Interactions mix all rows at once, so only tokens are shared between the candidates of a request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/token_model.h"
#include "model/trunk.h"

namespace uniscale::model {

class Wukong final : public TokenModel {
 public:
  Wukong(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  struct Layer {
    at::Tensor fm, lcb, residual;  // [n, k], [n_L, n], [n_F + n_L, n] or undefined
    LayerNorm fm_norm;
    Mlp mlp;
    LayerNorm norm;
  };

  std::vector<Layer> layers_;
  std::unique_ptr<Trunk> trunk_;
};

}  // namespace uniscale::model
