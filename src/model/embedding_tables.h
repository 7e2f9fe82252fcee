// Embedding tables outside autograd: a batch gathers the rows that it touches into small leaf tensors; their
// gradients come back row by row, each row once. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::model {

// A RequestBatch as tensors. R requests, C candidates.
struct BatchTensors {
  int64_t num_requests = 0;
  int64_t num_candidates = 0;
  std::vector<at::Tensor> ids;  // by id slot: places in rows[table], int64
  std::vector<at::Tensor>
      offsets;                     // by id slot: int64 [rows], where each bag begins; undefined: one id a row
  std::vector<at::Tensor> floats;  // by float slot: [rows, width]
  std::vector<at::Tensor> rows;    // by table: [touched, dim]
  std::vector<std::vector<int32_t>> touched;     // by table: ids of `rows`, rising
  at::Tensor request_of;                         // [C] int64: the request of each candidate
  std::vector<at::Tensor> candidates_of_domain;  // by domain: int64 candidates; undefined if it has none
};

class EmbeddingTables {
 public:
  // Rows are drawn from N(0, stddev²) by `seed`; `dtype` float or double.
  EmbeddingTables(const feature::FeatureSpec& spec, double stddev, int64_t seed, at::ScalarType dtype);

  // [num_rows, dim] by table, as in FeatureSpec::tables().
  std::vector<at::Tensor>& tables() { return tables_; }
  const std::vector<at::Tensor>& tables() const { return tables_; }
  // Rows require gradients if `training`.
  BatchTensors gather(const feature::RequestBatch& batch, bool training);

 private:
  const feature::FeatureSpec& spec_;
  std::vector<at::Tensor> tables_;
  std::vector<std::vector<int32_t>>
      place_;  // by table, by id: place + 1 among the touched rows; all 0 between calls
};

}  // namespace uniscale::model
