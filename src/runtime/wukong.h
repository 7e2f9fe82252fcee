// The torch-free twin of model/wukong.cc (Wukong: layers of a factorisation machine block beside a linear
// compression block, then the trunk).
#pragma once

#include <vector>

#include "runtime/layers/layer_norm.h"
#include "runtime/layers/mlp.h"
#include "runtime/token_ranker.h"

namespace uniscale::runtime {

class Wukong final : public TokenRanker {
 public:
  Wukong(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
         const ArchitectureOptions& options, const Kernels& kernels);

 private:
  struct Layer {
    // What reads X by columns, one under the other: fm (transposed), lcb and, where needed, residual.
    Linear columns;
    LayerNorm fm_norm;
    Mlp mlp;
    LayerNorm norm;
    int64_t rows_in = 0;
    bool has_residual = false;
  };
  Layer load_layer(int64_t l, int64_t rows_in, const std::vector<int64_t>& hidden) const;
  void score_block(const Compute& compute, const Block& block, float* z) const override;
  double candidate_flops() const override;
  // x [rows, rows_in · D] → y [rows, rows_out · D].
  void interact(const Compute& compute, const Layer& layer, int64_t rows, const float* x, float* y) const;

  int64_t fmb_rows_ = 0, lcb_rows_ = 0, rank_ = 0;
  std::vector<Layer> layers_;
  Mlp trunk_;
};

}  // namespace uniscale::runtime
