// Features → tokens, as model/tokenizer.cc does in training: embeddings of a token's features side by side,
// then its MLP.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

class Tokenizer {
 public:
  // Tables are read where `file` maps them; it and `spec` outlive this.
  Tokenizer(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim,
            Precision precision);
  // Tokens of `side`, in the order of the spec: its rows [begin, end) of the batch to x [tokens, rows, D].
  void operator()(const Compute& compute, feature::Side side, const feature::RequestBatch& batch,
                  int64_t begin, int64_t end, float* x) const;
  int64_t num_tokens(feature::Side side) const { return static_cast<int64_t>(tokens_of(side).size()); }
  // Indices into FeatureSpec::tokens().
  const std::vector<int>& tokens_of(feature::Side side) const {
    return side == feature::Side::Request ? request_tokens_ : candidate_tokens_;
  }
  double flops(feature::Side side) const;

 private:
  void feature_values(Arena& arena, int feature, const feature::RequestBatch& batch, int64_t begin,
                      int64_t end, float* out, int64_t stride) const;
  const feature::FeatureSpec& spec_;
  int64_t token_dim_;
  // `row` of the side of the feature's token; out has the feature's width.
  void pool_by_attention(Arena& arena, int feature, const feature::RequestBatch& batch, int64_t row,
                         float* out) const;
  std::vector<std::span<const float>> tables_;  // mapped, [rows, dim]
  // By feature that is pooled by attention: W [dim, target's dim] and b [dim] of its query, mapped.
  struct PoolQuery {
    std::span<const float> weight, bias;
  };
  std::map<int, PoolQuery> pool_queries_;
  std::vector<Mlp> mlps_;
  std::vector<int> request_tokens_, candidate_tokens_;
};

}  // namespace uniscale::runtime
