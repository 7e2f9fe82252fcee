// The events of a request's histories as tokens, as model/event_tokens.cc has them: sequence after sequence,
// in each its events (oldest first) and a separator.
#pragma once

#include <span>
#include <vector>

#include "feature/event_sequences.h"
#include "feature/request_batch.h"
#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

class EventTokens {
 public:
  // Tables are read where `file` maps them; it outlives this.
  EventTokens(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim,
              Precision precision);
  // Most tokens that a request can have.
  int64_t max_tokens() const { return max_tokens_; }
  int64_t num_tokens(const feature::RequestBatch& batch, int64_t request) const;
  // x [num_tokens(batch, request), D].
  void operator()(const Compute& compute, const feature::RequestBatch& batch, int64_t request,
                  float* x) const;
  // Of one request with full histories.
  double flops() const;

 private:
  struct Field {
    size_t slot = 0;               // of RequestBatch::ids
    std::span<const float> table;  // [rows, dim]
    int64_t dim = 0;
  };
  struct Sequence {
    std::vector<Field> fields;
    int64_t max_length = 0, width = 0;
    Mlp mlp;
  };
  int64_t token_dim_, max_tokens_ = 0;
  std::vector<Sequence> sequences_;
  std::span<const float> separator_;  // [sequences, D]
};

}  // namespace uniscale::runtime
