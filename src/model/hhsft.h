// HHSFT (paper §2): tokens → HFA × L_H → GFA × L_G → z → DREF → e → DAPGA → o → heads of the request's
// domain. Equations beside the code: hfa.h, gfa.h, domain_experts.h, heads.h; tensors:
// docs/formats/weights.md.
//   z = readout([rms(x_1); …; rms(x_n)]) over the tokens of the last layer
// With the mask user_isolated everything of the request side, and the request's part of the first GFA's
// projections, is computed once a request, forward and backward.
#pragma once

#include <memory>

#include "model/domain_experts.h"
#include "model/gfa.h"
#include "model/hfa.h"
#include "model/token_model.h"

namespace uniscale::model {

class Hhsft final : public TokenModel {
 public:
  // Throws UserError if gate_tokens names no request-side token, or widths do not fit.
  Hhsft(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  void choose_gate_tokens(const feature::FeatureSpec& spec);

  at::ScalarType dtype_;
  std::vector<HfaLayer> hfa_;
  std::vector<GfaLayer> gfa_;
  int64_t num_last_ = 0, last_dim_ = 0;  // of the tokens that readout_ sees
  at::Tensor readout_gain_;
  std::unique_ptr<Mlp> readout_;
  std::unique_ptr<Dref> dref_;
  std::unique_ptr<Dapga> dapga_;      // null: switched off
  std::vector<int64_t> gate_tokens_;  // places among the request-side tokens
};

}  // namespace uniscale::model
