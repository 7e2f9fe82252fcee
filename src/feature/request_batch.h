// RequestBatch ②: R requests with C candidates in all, as jagged columns. Filled by dataset (training) and by
// serve, read by model and runtime; request-side columns have R rows, candidate-side columns C rows.
// Invariants (checked once by `check_batch`, then trusted): candidate_offsets has R + 1 entries from 0 to C
// and never falls; every id slot has one id a row or offsets of rows + 1; ids lie in [0, rows of their
// table).
#pragma once

#include <cstdint>
#include <vector>

#include "schema/sample.h"

namespace uniscale::feature {

class FeatureSpec;

struct IdColumn {
  std::vector<int32_t> ids;
  // Empty: exactly one id a row (categorical). Else rows + 1 offsets into `ids` (text, sequence).
  std::vector<int32_t> offsets;
};

struct FloatColumn {
  std::vector<float> values;  // [rows, width]
  int width = 1;
};

struct TaskLabels {
  std::vector<uint8_t> label;               // [C]
  std::vector<float> weight;                // [C], 1 where the label is 0
  std::vector<schema::LabelSource> source;  // [C]
};

struct RequestBatch {
  int32_t num_requests = 0;
  std::vector<int32_t> candidate_offsets{0};  // [R + 1]
  std::vector<IdColumn> ids;                  // by Feature::slot of features with ids
  std::vector<FloatColumn> floats;            // by Feature::slot of features with floats
  std::vector<int32_t> domain;                // [R], index into FeatureSpec::domains()

  // Training and evaluation only; empty in serving.
  TaskLabels tasks[schema::kNumTasks];
  std::vector<schema::Origin> origin;           // [C]
  std::vector<int32_t> position;                // [C], −1 = not shown; never a feature
  std::vector<float> request_weight;            // [R], tier weight of searchified requests, else 1
  std::vector<uint64_t> user_key, request_key;  // [R], stable hashes for grouping in metrics
  std::vector<int64_t> ts_ms;                   // [R]
  std::vector<uint64_t> item_key;  // [C], stable hashes of item ids; only where dataset::Options::item_keys

  int32_t num_candidates() const { return candidate_offsets.back(); }
};

// Throws InternalError naming the first broken invariant.
void check_batch(const RequestBatch& batch, const FeatureSpec& spec);

}  // namespace uniscale::feature
