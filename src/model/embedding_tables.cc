#include "model/embedding_tables.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::model {
namespace {

template <class T>
at::Tensor copy_of(const std::vector<T>& values, at::ScalarType dtype) {
  return at::from_blob(const_cast<T*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::TensorOptions().dtype(dtype))
      .clone();
}

}  // namespace

EmbeddingTables::EmbeddingTables(const feature::FeatureSpec& spec, double stddev, int64_t seed,
                                 at::ScalarType dtype)
    : spec_(spec) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  for (const feature::TableSpec& table : spec.tables()) {
    at::Tensor rows = at::empty({table.num_rows, table.dim}, at::TensorOptions().dtype(dtype));
    rows.normal_(0.0, stddev, generator);
    tables_.push_back(std::move(rows));
    place_.emplace_back(static_cast<size_t>(table.num_rows), 0);
  }
}

BatchTensors EmbeddingTables::gather(const feature::RequestBatch& batch, bool training) {
  BatchTensors out;
  out.num_requests = batch.num_requests;
  out.num_candidates = batch.num_candidates();
  out.touched.resize(tables_.size());
  for (const feature::Feature& feature : spec_.features()) {
    if (!feature.has_ids) continue;
    auto& place = place_[static_cast<size_t>(feature.table)];
    auto& touched = out.touched[static_cast<size_t>(feature.table)];
    for (int32_t id : batch.ids[static_cast<size_t>(feature.slot)].ids) {
      if (place[static_cast<size_t>(id)] == 0) {
        place[static_cast<size_t>(id)] = 1;
        touched.push_back(id);
      }
    }
  }
  for (size_t t = 0; t < tables_.size(); ++t) {
    // Rising ids: the order of sums, and so their last bits, does not depend on the order of features.
    std::sort(out.touched[t].begin(), out.touched[t].end());
    for (size_t i = 0; i < out.touched[t].size(); ++i)
      place_[t][static_cast<size_t>(out.touched[t][i])] = static_cast<int32_t>(i);
    at::Tensor rows = tables_[t].index_select(0, copy_of(out.touched[t], at::kInt));
    out.rows.push_back(rows.set_requires_grad(training));
  }
  out.ids.resize(static_cast<size_t>(spec_.num_id_slots()));
  out.offsets.resize(static_cast<size_t>(spec_.num_id_slots()));
  out.floats.resize(static_cast<size_t>(spec_.num_float_slots()));
  const at::ScalarType dtype = tables_.empty() ? at::kFloat : tables_[0].scalar_type();
  std::vector<int64_t> local;
  for (const feature::Feature& feature : spec_.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      const auto& values = batch.floats[slot].values;
      out.floats[slot] = copy_of(values, at::kFloat).view({-1, batch.floats[slot].width}).to(dtype);
      continue;
    }
    const feature::IdColumn& column = batch.ids[slot];
    const auto& place = place_[static_cast<size_t>(feature.table)];
    local.clear();
    for (int32_t id : column.ids) local.push_back(place[static_cast<size_t>(id)]);
    out.ids[slot] = copy_of(local, at::kLong);
    if (!column.offsets.empty()) {
      local.assign(column.offsets.begin(), column.offsets.end() - 1);
      out.offsets[slot] = copy_of(local, at::kLong);
    }
  }
  for (size_t t = 0; t < tables_.size(); ++t) {
    for (int32_t id : out.touched[t]) place_[t][static_cast<size_t>(id)] = 0;
  }
  std::vector<int64_t> request_of;
  std::vector<std::vector<int64_t>> by_domain(spec_.domains().size());
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    for (int32_t c = batch.candidate_offsets[static_cast<size_t>(r)];
         c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
      request_of.push_back(r);
      by_domain[static_cast<size_t>(batch.domain[static_cast<size_t>(r)])].push_back(c);
    }
  }
  out.request_of = copy_of(request_of, at::kLong);
  for (const auto& candidates : by_domain) {
    out.candidates_of_domain.push_back(candidates.empty() ? at::Tensor() : copy_of(candidates, at::kLong));
  }
  return out;
}

}  // namespace uniscale::model
