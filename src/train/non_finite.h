// The guard against NaN and infinity: what is not finite, where it comes from, and the batch for the reader.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "model/embedding_tables.h"
#include "model/model.h"

namespace uniscale::train {

bool is_finite(const at::Tensor& tensor);

// Where a value that is not finite comes from: first the batch's numbers (feature and rows), then dense
// parameters, then table rows (with the features that read them), then logits. Empty: all of them are finite.
std::string non_finite_input(const feature::RequestBatch& batch, const feature::FeatureSpec& spec,
                             const model::BatchTensors& tensors,
                             const std::vector<model::Parameter>& parameters);
// The first gradient that is not finite, of a dense parameter or of table rows; empty: none.
std::string non_finite_gradient(const feature::FeatureSpec& spec, const model::BatchTensors& tensors,
                                const std::vector<model::Parameter>& parameters);

// Writes `<folder>/non_finite_batch.json` (step, what, request keys, the largest value of each numeric
// feature) and `non_finite_batch.safetensors` (every column of the batch: `ids.<feature>`,
// `offsets.<feature>`, `floats.<feature>`, `candidate_offsets`, `domain`, `label.<task>`, `weight.<task>`,
// `request_weight`, keys). Returns the path of the former.
std::string dump_batch(const std::string& folder, const feature::RequestBatch& batch,
                       const feature::FeatureSpec& spec, int64_t step, const std::string& what);

}  // namespace uniscale::train
