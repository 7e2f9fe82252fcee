// The events of a request's histories as tokens: what OneTrans calls S-tokens (paper §3.7). Each behaviour
// event is one token of its sequence's MLP; a learnt separator stands after each sequence.
#pragma once

#include <string>
#include <vector>

#include "model/layers.h"

namespace uniscale::model {

class EventTokens {
 public:
  // Features with source `history.<s>.…` are fields of sequence s, `query_history` is a sequence of its own;
  // sequences and fields in the order of the spec. Parameters `event.<s>.0.weight`, …,
  // `event.separator.weight` [number of sequences, D]. Throws UserError if the fields of one sequence keep
  // different numbers of events.
  EventTokens(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
              at::ScalarType dtype, std::vector<Parameter>& parameters);

  struct Padded {
    at::Tensor tokens;  // [R, S, D]: oldest sequence first, each request's own right-aligned, 0 before them
    at::Tensor valid;   // [R, S] bool
  };
  // S is the longest of the batch; 0 without sequences.
  Padded operator()(const BatchTensors& batch) const;
  // Most tokens that a request can have: Σ over sequences of max_length + 1.
  int64_t max_tokens() const { return max_tokens_; }
  // Of one request with full histories.
  double flops() const;

 private:
  struct Sequence {
    std::vector<int> features;
    int64_t max_length;
    Mlp mlp;
  };
  const feature::FeatureSpec& spec_;
  int64_t token_dim_, max_tokens_ = 0;
  at::ScalarType dtype_;
  std::vector<Sequence> sequences_;
  at::Tensor separator_;
};

}  // namespace uniscale::model
