#include "train/non_finite.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/files.h"
#include "base/hash.h"
#include "json/json.h"
#include "schema/sample.h"
#include "train/checkpoint.h"

namespace uniscale::train {
namespace {

constexpr int64_t kNamedRows = 8;  // of those that are bad

std::string rows_text(const at::Tensor& bad_rows) {
  std::string out;
  const at::Tensor bad = bad_rows.nonzero().view({-1});
  for (int64_t i = 0; i < std::min(bad.numel(), kNamedRows); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : " ", bad[i].item<int64_t>());
  return out + (bad.numel() > kNamedRows ? " …" : "");
}

// "table items (rows 3 9, read by item clicks)".
std::string table_text(const feature::FeatureSpec& spec, const model::BatchTensors& tensors, size_t table,
                       const at::Tensor& values) {
  std::string rows, features;
  const at::Tensor bad = at::isfinite(values).all(1).logical_not().nonzero().view({-1});
  for (int64_t i = 0; i < std::min(bad.numel(), kNamedRows); ++i) {
    rows += fmt::format("{}{}", i == 0 ? "" : " ",
                        tensors.touched[table][static_cast<size_t>(bad[i].item<int64_t>())]);
  }
  for (const feature::Feature& feature : spec.features()) {
    if (feature.has_ids && feature.table == static_cast<int>(table))
      features += (features.empty() ? "" : " ") + feature.name;
  }
  return fmt::format("table {} (rows {}, read by {})", spec.tables()[table].name, rows, features);
}

template <class T>
at::Tensor tensor_of(const std::vector<T>& values, at::ScalarType dtype) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(dtype));
  if (!values.empty()) std::memcpy(out.data_ptr(), values.data(), values.size() * sizeof(T));
  return out;
}

}  // namespace

bool is_finite(const at::Tensor& tensor) {
  // The sum decides almost always, and reads the memory once.
  return std::isfinite(tensor.sum().item<double>()) || at::isfinite(tensor).all().item<bool>();
}

std::string non_finite_input(const feature::RequestBatch& batch, const feature::FeatureSpec& spec,
                             const model::BatchTensors& tensors,
                             const std::vector<model::Parameter>& parameters) {
  for (const feature::Feature& feature : spec.features()) {
    if (feature.has_ids) continue;
    const at::Tensor& values = tensors.floats[static_cast<size_t>(feature.slot)];
    if (is_finite(values)) continue;
    const at::Tensor bad = at::isfinite(values).all(1).logical_not();
    const bool of_request = feature.side == feature::Side::Request;
    std::string requests;
    const at::Tensor rows = bad.nonzero().view({-1});
    for (int64_t i = 0; i < std::min(rows.numel(), kNamedRows); ++i) {
      const auto row = rows[i].item<int64_t>();
      const auto r = static_cast<size_t>(of_request ? row : tensors.request_of[row].item<int64_t>());
      const std::string key = r < batch.request_key.size() ? base::hex64(batch.request_key[r]) : "?";
      if (requests.find(key) == std::string::npos) requests += (requests.empty() ? "" : " ") + key;
    }
    return fmt::format("feature {} ({} rows {} of the batch, request keys {})", feature.name,
                       of_request ? "request" : "candidate", rows_text(bad), requests);
  }
  for (const model::Parameter& parameter : parameters) {
    if (!is_finite(parameter.value.detach())) return parameter.name;
  }
  for (size_t t = 0; t < tensors.rows.size(); ++t) {
    const at::Tensor rows = tensors.rows[t].detach();
    if (!is_finite(rows)) return table_text(spec, tensors, t, rows);
  }
  return "";
}

std::string non_finite_gradient(const feature::FeatureSpec& spec, const model::BatchTensors& tensors,
                                const std::vector<model::Parameter>& parameters) {
  for (const model::Parameter& parameter : parameters) {
    const at::Tensor grad = parameter.value.grad();
    if (grad.defined() && !is_finite(grad)) return parameter.name;
  }
  for (size_t t = 0; t < tensors.rows.size(); ++t) {
    const at::Tensor grad = tensors.rows[t].grad();
    if (grad.defined() && !is_finite(grad)) return table_text(spec, tensors, t, grad);
  }
  return "";
}

std::string dump_batch(const std::string& folder, const feature::RequestBatch& batch,
                       const feature::FeatureSpec& spec, int64_t step, const std::string& what) {
  std::vector<NamedState> columns;
  json::Value features = json::Value::array();
  for (const feature::Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    if (feature.has_ids) {
      columns.push_back({"ids." + feature.name, tensor_of(batch.ids[slot].ids, at::kInt)});
      if (!batch.ids[slot].offsets.empty())
        columns.push_back({"offsets." + feature.name, tensor_of(batch.ids[slot].offsets, at::kInt)});
      continue;
    }
    const auto& values = batch.floats[slot].values;
    columns.push_back(
        {"floats." + feature.name, tensor_of(values, at::kFloat).view({-1, batch.floats[slot].width})});
    // JSON has no infinity: 1e300 stands for what is not finite.
    double largest = 0;
    for (float v : values)
      largest = std::max(largest, std::isfinite(v) ? std::abs(static_cast<double>(v)) : 1e300);
    features.push_back({{"feature", feature.name}, {"largest", largest}});
  }
  columns.push_back({"candidate_offsets", tensor_of(batch.candidate_offsets, at::kInt)});
  columns.push_back({"domain", tensor_of(batch.domain, at::kInt)});
  columns.push_back({"request_weight", tensor_of(batch.request_weight, at::kFloat)});
  columns.push_back({"request_key", tensor_of(batch.request_key, at::kLong)});
  columns.push_back({"user_key", tensor_of(batch.user_key, at::kLong)});
  columns.push_back({"ts_ms", tensor_of(batch.ts_ms, at::kLong)});
  for (size_t t = 0; t < schema::kNumTasks; ++t) {
    const std::string task(schema::kTaskNames[t]);
    columns.push_back({"label." + task, tensor_of(batch.tasks[t].label, at::kByte)});
    columns.push_back({"weight." + task, tensor_of(batch.tasks[t].weight, at::kFloat)});
  }
  write_tensors(folder + "/non_finite_batch.safetensors", columns);

  json::Value keys = json::Value::array();
  for (uint64_t key : batch.request_key) keys.push_back(base::hex64(key));
  json::Value value = {{"step", step},
                       {"what", what},
                       {"requests", batch.num_requests},
                       {"candidates", batch.num_candidates()},
                       {"request_keys", std::move(keys)},
                       {"features", std::move(features)}};
  const std::string path = folder + "/non_finite_batch.json";
  base::write_file_atomically(path, json::dump(value) + "\n");
  return path;
}

}  // namespace uniscale::train
