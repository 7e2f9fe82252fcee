// The torch-free twin of model/dlrm_mlp.cc: the same equations, the request side once a request.
#pragma once

#include <memory>

#include "bundle/safetensors.h"
#include "runtime/architecture_options.h"
#include "runtime/layers/heads.h"
#include "runtime/layers/mlp.h"
#include "runtime/layers/tokenizer.h"
#include "runtime/ranker.h"

namespace uniscale::runtime {

class DlrmMlp final : public Ranker {
 public:
  DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
          const ArchitectureOptions& options, const Kernels& kernels);
  const std::vector<std::string>& heads() const override { return tasks_; }
  const feature::FeatureSpec& spec() const override { return spec_; }
  Precision precision() const override { return kernels_.precision; }
  double flops(int64_t num_candidates) const override;
  void prepare(const feature::RequestBatch& batch, Workspace& workspace, RequestState& state) const override;
  void score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                        int32_t end, Workspace& workspace, Scores& out) const override;

 private:
  feature::FeatureSpec spec_;
  std::shared_ptr<const bundle::SafetensorsFile> weights_;  // tables are read where they are mapped
  const Kernels& kernels_;
  std::vector<std::string> tasks_;
  int64_t token_dim_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
  SplitLinear first_;  // trunk.0
  Mlp trunk_;          // trunk.1 …; empty if trunk.0 is all
  int64_t trunk_out_ = 0;
  bool deep_ = false;
  std::unique_ptr<Heads> heads_;
};

}  // namespace uniscale::runtime
