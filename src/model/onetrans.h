// OneTrans (paper §3.7; 2510.26104): one causal transformer over behaviour events and feature tokens.
// Order: S event tokens (event_tokens.h), then the T tokens, request side first; a token attends itself and
// those before it. Event tokens share one {Q, K, V, O, FFN}; every other token has its own.
//   Y = X + O·MHA(Q rms(X), K rms(X), V rms(X));   X ← Y + ffn(rms(Y)),   ffn(y) = W1 gelu(W0 y + b0) + b1
// Pyramid: after layer l (of L) only the last ⌊S_max·(L−1−l)/L⌋ event tokens go on, so only those and the T
// tokens ask in it; keys and values are of all that came in. The last layer leaves the T tokens alone, so the
// O and FFN of event tokens end in the layer that keeps the last of them.
//   z = [rms(X_1); …; rms(X_T)]
// Candidate-side tokens come last, so the request side never sees them: it is computed once a request,
// exactly.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/event_tokens.h"
#include "model/token_model.h"
#include "model/trunk.h"

namespace uniscale::model {

class OneTrans final : public TokenModel {
 public:
  OneTrans(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype);
  std::vector<at::Tensor> logits(const BatchTensors& batch) const override;
  json::Value architecture_options() const override;
  // With full histories: max_length events in each sequence.
  double flops_per_candidate(double candidates_per_request) const override;

 private:
  // Weights of n tokens; event tokens are n = 1, the same for all.
  struct Asking {
    at::Tensor attention_gain, qkv;  // [n, D], [n, 3·D, D]
  };
  struct Finishing {
    at::Tensor output, ffn_gain;  // [n, D, D], [n, D]
    TokenFfn ffn;
  };
  struct Layer {
    std::optional<Asking> event_asking;        // if events come in
    std::optional<Finishing> event_finishing;  // if events go on
    Asking token_asking;
    Finishing token_finishing;
  };
  Asking make_asking(const std::string& name, int64_t num_tokens, at::Generator& generator,
                     at::ScalarType dtype);
  Finishing make_finishing(const std::string& name, int64_t num_tokens, at::Generator& generator,
                           at::ScalarType dtype);
  // Both act on the request side [R, P + U, D], P of them events, or on the candidate side (P = 0).
  at::Tensor project(const Layer& layer, const at::Tensor& x, int64_t num_events, int64_t first) const;
  at::Tensor finish(const Layer& layer, const at::Tensor& x, const at::Tensor& attended, int64_t num_events,
                    int64_t first) const;
  // Event tokens that come into layer l, at most.
  int64_t max_events(int64_t l) const;

  std::unique_ptr<EventTokens> events_;
  std::vector<Layer> layers_;
  at::Tensor readout_gain_;  // [T, D]
};

}  // namespace uniscale::model
