// The torch-free twin of model/hhsft: docs/formats/weights.md has the equations. With the mask user_isolated
// everything of the request's side (its tokens, their HFA layers with keys and values, their part of the
// first projection over all tokens, the gate) is computed once a request.
#pragma once

#include <memory>
#include <optional>

#include "bundle/safetensors.h"
#include "runtime/architecture_options.h"
#include "runtime/candidate_blocks.h"
#include "runtime/layers/domain_experts.h"
#include "runtime/layers/gfa.h"
#include "runtime/layers/heads.h"
#include "runtime/layers/hfa.h"
#include "runtime/layers/tokenizer.h"
#include "runtime/ranker.h"

namespace uniscale::runtime {

class Hhsft final : public Ranker {
 public:
  Hhsft(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
        const ArchitectureOptions& options, const Kernels& kernels);
  const std::vector<std::string>& heads() const override { return tasks_; }
  const feature::FeatureSpec& spec() const override { return spec_; }
  Precision precision() const override { return kernels_.precision; }
  double flops(int64_t num_candidates) const override;
  void prepare(const feature::RequestBatch& batch, Workspace& workspace, RequestState& state) const override;
  void score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                        int32_t end, Workspace& workspace, Scores& out) const override;

 private:
  struct Prepared;
  void load_layers(const ArchitectureOptions& options);
  void load_gate(const ArchitectureOptions& options, Dapga::Options& dapga);
  // Tokens of one block, request side first if it is not shared: x [num_own_, rows, D].
  void candidate_tokens(const Compute& compute, const feature::RequestBatch& batch, const float* request_x,
                        const CandidateBlock& block, float* x) const;
  // x after HFA → the readout's z, operands.
  OperandTokens read_out(const Compute& compute, const float* x, const Prepared& prepared,
                         const CandidateBlock& block) const;

  feature::FeatureSpec spec_;
  std::shared_ptr<const bundle::SafetensorsFile> weights_;  // tables are read where they are mapped
  const Kernels& kernels_;
  std::vector<std::string> tasks_;
  int64_t width_ = 0;                     // D
  int64_t num_shared_ = 0, num_own_ = 0;  // tokens computed by request, by candidate
  int64_t num_request_tokens_ = 0;        // U
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<HfaLayer> hfa_;
  std::vector<GfaLayer> gfa_;
  SplitLinear readout_first_;
  std::optional<Mlp> readout_rest_;
  int64_t readout_tokens_ = 0, readout_width_ = 0;  // what comes into the readout
  int64_t z_width_ = 0;
  std::unique_ptr<Dref> dref_;
  std::unique_ptr<Dapga> dapga_;
  std::vector<int64_t> gate_places_;  // request-side tokens that the gate reads
  std::unique_ptr<Heads> heads_;
};

}  // namespace uniscale::runtime
