// The torch-free twin of model/dlrm_mlp.cc: the same equations, the request side once a request.
#pragma once

#include <memory>

#include "bundle/safetensors.h"
#include "json/json.h"
#include "runtime/layers/mlp.h"
#include "runtime/layers/tokenizer.h"
#include "runtime/ranker.h"

namespace uniscale::runtime {

class DlrmMlp final : public Ranker {
 public:
  DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
          const json::Value& options, const std::string& where);
  const std::vector<std::string>& heads() const override { return tasks_; }
  const feature::FeatureSpec& spec() const override { return spec_; }
  void score(const feature::RequestBatch& batch, Workspace& workspace, Scores& out) const override;

 private:
  feature::FeatureSpec spec_;
  std::shared_ptr<const bundle::SafetensorsFile> weights_;  // tables are read where they are mapped
  std::vector<std::string> tasks_;
  std::vector<int64_t> trunk_widths_;
  int64_t token_dim_ = 0;
  std::vector<int> request_tokens_, candidate_tokens_;
  std::unique_ptr<Tokenizer> tokenizer_;
  PackedMatrix first_request_, first_candidate_;  // trunk.0, split by side
  std::vector<float> first_bias_;
  std::vector<LinearWeights> trunk_;  // trunk.1 …
  std::vector<Mlp> heads_;            // by task, of the search domain
};

}  // namespace uniscale::runtime
