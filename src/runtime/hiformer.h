// The torch-free twin of model/hiformer.cc (HiFormer: attention over composite projections, read out from
// task tokens).
#pragma once

#include <vector>

#include "runtime/layers/composite_projection.h"
#include "runtime/layers/token_ffn.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class Hiformer final : public TokenRanker {
 public:
  Hiformer(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
           const ArchitectureOptions& options, const Kernels& kernels);

 private:
  struct Layer {
    int64_t num_shared = 0, num_own = 0, num_queries = 0;  // tokens in; of them the last ask
    CompositeProjection projections[3];                    // query, key, value
    TokenFfn ffn;
  };
  void prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                     RequestState::Impl& kept) const override;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double request_flops() const override;
  double candidate_flops() const override;
  // x [num_own, rows, D] → y [num_queries, rows, D].
  void attend(const Compute& compute, const Layer& layer, const Block& block, const float* x, float* y) const;

  int64_t num_heads_ = 1, num_task_tokens_ = 0;
  std::span<const float> task_token_;  // [K, D]
  std::vector<Layer> layers_;
};

}  // namespace uniscale::runtime
