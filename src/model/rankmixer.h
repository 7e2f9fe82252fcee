// RankMixer, dense (paper §3.4; 2507.15551): parameter-free mixing of token parts, then a FFN of each token.
// Mixing needs as many heads as tokens: S, the largest divisor of D that is not above T; x = [tokens] ∈
// R^{T·D} is cut into S segments, each with a projection of its own to D (none if S = T).
//   M_h = [X_1^h; …; X_S^h],  X_s^h the h-th of the S parts of X_s
//   Y = ln(M + X);   X ← ln(ffn(Y) + Y),   ffn_s(y) = W1_s gelu(W0_s y + b0_s) + b1_s
//   z = mean of X over the tokens
// Segments that lie on the request side are projected once a request.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/token_model.h"
#include "model/trunk.h"

namespace uniscale::model {

class RankMixer final : public TokenModel {
 public:
  RankMixer(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  struct Layer {
    LayerNorm mix_norm, ffn_norm;
    TokenFfn ffn;
  };
  at::Tensor segments(const Tokens& tokens, const at::Tensor& request_of) const;  // [C, S, D]

  int64_t num_segments_ = 0;           // S
  int64_t request_segments_ = 0;       // of them wholly on the request side
  at::Tensor segment_, segment_bias_;  // [S, D, F/S], [S, D]; undefined if S = T
  std::vector<Layer> layers_;
};

}  // namespace uniscale::model
