// The torch-free twin of model/rankmixer.cc (RankMixer: parameter-free mixing, then a feed-forward net for
// each token).
#pragma once

#include <vector>

#include "runtime/layers/layer_norm.h"
#include "runtime/layers/token_ffn.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class RankMixer final : public TokenRanker {
 public:
  RankMixer(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
            const ArchitectureOptions& options, const Kernels& kernels);

 private:
  struct Layer {
    LayerNorm mix_norm;
    TokenFfn ffn;
    LayerNorm ffn_norm;
  };
  void prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                     RequestState::Impl& kept) const override;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double request_flops() const override;
  double candidate_flops() const override;
  // Tokens cut anew: x [S, rows, D].
  void cut_segments(const Compute& compute, const Block& block, float* x) const;
  int64_t segment_width() const { return num_tokens() * width() / num_segments_; }

  int64_t num_segments_ = 0;      // S
  int64_t request_segments_ = 0;  // of them, of the request's tokens alone
  std::vector<Linear> segments_;  // empty if S = T
  std::vector<Layer> layers_;
};

}  // namespace uniscale::runtime
