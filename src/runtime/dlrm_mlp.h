// The torch-free twin of model/dlrm_mlp.cc: the same equations, the request side once a request.
#pragma once

#include "runtime/layers/mlp.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class DlrmMlp final : public TokenRanker {
 public:
  DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
          const ArchitectureOptions& options, const Kernels& kernels);

 private:
  void prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                     RequestState::Impl& kept) const override;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double request_flops() const override { return first_.shared_flops(); }
  double candidate_flops() const override { return first_.own_flops() + rest_.flops(); }

  SplitLinear first_;  // trunk.0
  Mlp rest_;           // trunk.1 …; empty if trunk.0 is all
  bool deep_ = false;
};

}  // namespace uniscale::runtime
