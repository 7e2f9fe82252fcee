// The torch-free twin of model/dcnv2.cc (DCNv2: cross layers, then the trunk).
#pragma once

#include <vector>

#include "runtime/layers/mlp.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class Dcnv2 final : public TokenRanker {
 public:
  Dcnv2(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
        const ArchitectureOptions& options, const Kernels& kernels);

 private:
  // x_{l+1} = x_0 ⊙ (W x_l + b) + x_l; W full, of low rank, or a mixture of such experts.
  struct Layer {
    SplitLinear wide;            // W, or down of all experts one under the other
    SplitLinear gate;            // of a mixture
    std::vector<Linear> middle;  // by expert
    Linear up;                   // of low rank: all experts side by side, with the bias
  };
  Layer load_layer(int64_t l, int64_t rank, int64_t num_experts) const;
  void prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                     RequestState::Impl& kept) const override;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double request_flops() const override;
  double candidate_flops() const override;
  // Σ_k g_k tanh(middle_k tanh(down_k x)), experts side by side, in place of down x; gate [rows, E] logits.
  void mix_experts(const Compute& compute, const Layer& layer, int64_t rows, float* down, float* gate) const;

  int64_t rank_ = 0, num_experts_ = 1;
  std::vector<Layer> layers_;
  Mlp trunk_;
};

}  // namespace uniscale::runtime
