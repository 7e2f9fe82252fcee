// DCNv2 (paper §3.2; 2008.13535), cross layers and the MLP stacked. x ∈ R^F, all tokens concatenated; F =
// T·D.
//   x_0 = x;  z = trunk(x_L)
//   full rank:      x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l
//   rank r:         x_{l+1} = x_0 ⊙ (up_l (down_l x_l) + b_l) + x_l
//   E experts:      x_{l+1} = Σ_k g_k · x_0 ⊙ (up_k tanh(middle_k tanh(down_k x_l)) + b_l) + x_l
//                   g = softmax(gate_l x_l)
// In the first layer the request-side columns of W_0, down and gate are multiplied once a request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/token_model.h"
#include "model/trunk.h"

namespace uniscale::model {

class Dcnv2 final : public TokenModel {
 public:
  Dcnv2(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  struct Layer {
    at::Tensor weight;        // full rank: [F, F]
    at::Tensor down, up;      // rank r: [r, F], [F, r]; with E experts [E, r, F], [E, F, r]
    at::Tensor middle, gate;  // E experts: [E, r, r], [E, F]
    at::Tensor bias;          // [F]
  };
  // W_l x_l of a layer, in full or low rank, without the bias; first: x = [request; candidate].
  at::Tensor crossed(const Layer& layer, const at::Tensor& request, const at::Tensor& candidate,
                     const at::Tensor& request_of) const;

  int64_t width_ = 0;  // F
  std::vector<Layer> layers_;
  std::unique_ptr<Trunk> trunk_;
};

}  // namespace uniscale::model
