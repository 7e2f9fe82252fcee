// Features → tokens, as model/tokenizer.cc does in training: embeddings of a token's features side by side,
// then its MLP.
#pragma once

#include <span>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

class Tokenizer {
 public:
  Tokenizer(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim);
  // Writes token t of every row of its side to out [rows, stride] at columns [column, column + D).
  // `scratch` holds rows · scratch_width() floats.
  void token(int t, const feature::RequestBatch& batch, int64_t rows, float* out, int64_t stride,
             int64_t column, float* scratch) const;
  int64_t scratch_width() const { return scratch_width_; }

 private:
  void feature_values(const feature::Feature& feature, const feature::RequestBatch& batch, int64_t rows,
                      float* out, int64_t stride) const;
  const feature::FeatureSpec& spec_;
  int64_t token_dim_;
  int64_t scratch_width_ = 0;
  std::vector<std::span<const float>> tables_;  // mapped, [rows, dim]
  std::vector<Mlp> mlps_;
};

}  // namespace uniscale::runtime
