// The torch-free twin of model/onetrans.cc (OneTrans: one causal transformer over events and tokens).
// Candidates stand last, so a request's events and tokens go through all layers once a request.
#pragma once

#include <optional>
#include <vector>

#include "runtime/layers/event_tokens.h"
#include "runtime/layers/hfa.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class OneTrans final : public TokenRanker {
 public:
  OneTrans(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
           const ArchitectureOptions& options, const Kernels& kernels);

 private:
  struct Layer {
    std::optional<HfaLayer> event;  // one set of weights for all events, if events come in
    HfaLayer token;
  };
  // What is kept: one part of the requests' last tokens, then for each request and layer its keys.
  enum Part : size_t { kLastTokens, kFirstKeys };
  struct Keys {
    const void* qkv;  // operands [num_tokens, 3 · D]
    int64_t num_tokens;
  };
  void prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                     RequestState::Impl& kept) const override;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double request_flops() const override;
  double candidate_flops() const override;
  // Events that come into layer l, at most.
  int64_t max_events(int64_t l) const { return events_.max_tokens() * (num_layers_ - l) / num_layers_; }
  // A request's rows x [num_events + U, D] through layer l; returns the events that go on, moved to the
  // front.
  int64_t advance(const Compute& compute, int64_t l, int64_t num_events, std::byte* qkv, float* x) const;

  EventTokens events_;
  int64_t num_layers_;
  std::vector<Layer> layers_;
  std::span<const float> readout_gain_;  // [T, D]
};

}  // namespace uniscale::runtime
