// What every ranker over tokens has in common: tokenizer, heads, blocks of candidates, what is kept of a
// request. An architecture adds its layers between tokens and heads.
#pragma once

#include <memory>
#include <span>

#include "bundle/safetensors.h"
#include "runtime/architecture_options.h"
#include "runtime/layers/heads.h"
#include "runtime/layers/tokenizer.h"
#include "runtime/ranker.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {

class TokenRanker : public Ranker {
 public:
  const std::vector<std::string>& heads() const final { return tasks_; }
  const feature::FeatureSpec& spec() const final { return spec_; }
  Precision precision() const final { return kernels_.precision; }
  double flops(int64_t num_candidates) const final;
  void prepare(const feature::RequestBatch& batch, Workspace& workspace, RequestState& state) const final;
  void score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                        int32_t end, Workspace& workspace, Scores& out) const final;

 protected:
  // A block of candidates and what its layers read. Letters: R requests, U and I tokens of the two sides, D.
  struct Block {
    int64_t rows = 0;
    const int32_t* request_of = nullptr;  // [rows]
    const float* x = nullptr;             // [I, rows, D]
    const float* request_x = nullptr;     // [U, R, D]
    int64_t num_requests = 0;
    std::span<void* const> parts;  // what prepare_parts kept
  };
  // Tokenizer and widths; the architecture loads its layers, then the heads. With bf16 D must be even.
  TokenRanker(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
              const ArchitectureOptions& options, const Kernels& kernels);
  void load_heads(const ArchitectureOptions& options, int64_t z_width);
  // Option `num_heads`, checked to divide D into heads of a width that the precision takes.
  int64_t num_attention_heads(const ArchitectureOptions& options) const;

  // Keeps what candidates read of the request's side beside its tokens x [U, R, D].
  virtual void prepare_parts(const Compute&, const feature::RequestBatch&, const float* /*x*/,
                             RequestState::Impl& /*kept*/) const {}
  // z [rows, z_width] fp32, which the heads read.
  virtual void score_block(const Compute& compute, const Block& block, float* z) const = 0;
  // Of what stands between tokens and heads.
  virtual double request_flops() const { return 0; }
  virtual double candidate_flops() const = 0;

  // All tokens of each candidate side by side, the request's first: [rows, T · D] from the arena.
  float* join_rows(const Compute& compute, const Block& block) const;
  // Rows of fp32 as operands from the arena.
  std::byte* as_operands(const Compute& compute, const float* x, int64_t rows, int64_t width) const;

  const bundle::SafetensorsFile& weights() const { return *weights_; }
  int64_t num_request_tokens() const { return tokenizer_->num_tokens(feature::Side::Request); }
  int64_t num_candidate_tokens() const { return tokenizer_->num_tokens(feature::Side::Candidate); }
  int64_t num_tokens() const { return num_request_tokens() + num_candidate_tokens(); }
  int64_t width() const { return width_; }
  const Kernels& kernels() const { return kernels_; }

 private:
  feature::FeatureSpec spec_;
  std::shared_ptr<const bundle::SafetensorsFile> weights_;  // tables are read where they are mapped
  const Kernels& kernels_;
  std::vector<std::string> tasks_;
  int64_t width_ = 0, z_width_ = 0;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Heads> heads_;
};

}  // namespace uniscale::runtime
