#include "train/export.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/version.h"
#include "bundle/bundle.h"
#include "bundle/entity_table.h"
#include "logstore/logstore.h"
#include "model/model.h"
#include "runtime/ranker.h"
#include "runtime/raw_request.h"
#include "table/parquet.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/sample_requests.h"

namespace uniscale::train {
namespace {

// Serving needs what is shared, and of what only a domain's own candidates go through, the search domain's.
std::vector<NamedState> serving_weights(const TrainedModel& model) {
  std::vector<NamedState> out;
  const std::string search = model.spec->search_domain() + ".";
  for (NamedState& one : model.weights()) {
    bool needed = true;
    for (const std::string_view routed : {"head.", "dref.expert.", "dref.gate."}) {
      if (one.name.starts_with(routed))
        needed = std::string_view(one.name).substr(routed.size()).starts_with(search);
    }
    if (needed) out.push_back(std::move(one));
  }
  return out;
}

bundle::EntityValue entity_value(const table::Column* column, schema::ValueType type, int64_t row) {
  bundle::EntityValue value{.number = std::nan("")};
  if (column == nullptr || !column->is_valid(row)) return value;
  value.is_null = false;
  if (column->type() == table::Type::List) {  // an embedding: its floats as bytes (docs/formats/bundle.md)
    const auto floats = std::as_bytes(column->child(0).floats().subspan(
        static_cast<size_t>(column->list_begin(row)),
        static_cast<size_t>(column->list_end(row) - column->list_begin(row))));
    value.text = {reinterpret_cast<const char*>(floats.data()), floats.size()};
    return value;
  }
  switch (type) {
    case schema::ValueType::String:
      value.text = column->string(row);
      break;
    case schema::ValueType::Double:
      value.number = column->doubles()[static_cast<size_t>(row)];
      break;
    case schema::ValueType::Int:
      value.integer = column->int64s()[static_cast<size_t>(row)];
      break;
  }
  return value;
}

// Adds the latest version of each id of a file sorted by (id, ts_ms).
void add_latest(const std::string& path, const std::string& id_name,
                const std::vector<schema::DeclaredColumn>& columns, bundle::EntityTableWriter& writer) {
  const table::ParquetReader reader(path);
  std::string last_id;
  std::vector<std::string> last_texts(columns.size());
  std::vector<bundle::EntityValue> last(columns.size());
  bool any = false;
  const auto flush = [&] {
    if (!any) return;
    for (size_t c = 0; c < columns.size(); ++c) last[c].text = last_texts[c];
    writer.add(last_id, last);
  };
  for (int g = 0; g < reader.num_row_groups(); ++g) {
    const table::Table rows = reader.read_row_group(g);
    const table::Column& ids = rows.require(id_name, table::Type::String, path);
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      if (any && ids.string(i) != last_id) flush();
      any = true;
      last_id = ids.string(i);
      for (size_t c = 0; c < columns.size(); ++c) {
        last[c] = entity_value(rows.find(columns[c].name), columns[c].type, i);
        last_texts[c] = last[c].is_null ? "" : std::string(last[c].text);
      }
    }
  }
  flush();
}

void write_tables(const std::string& store_path, const feature::FeatureSpec& spec,
                  const std::string& folder) {
  const logstore::LogStore store(store_path);
  std::vector<schema::DeclaredColumn> item_columns = store.schema().item;
  item_columns.push_back({"title", schema::ValueType::String});
  item_columns.push_back({"category", schema::ValueType::String});
  const auto& features = spec.features();
  if (std::any_of(features.begin(), features.end(),
                  [](const feature::Feature& one) { return one.source == "item.embedding"; }))
    item_columns.push_back({"embedding", schema::ValueType::String});
  bundle::EntityTableWriter items(item_columns), users(store.schema().user);
  if (const auto path = store.items_file()) add_latest(*path, "item_id", item_columns, items);
  for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
    if (const auto path = store.users_file(bucket)) add_latest(*path, "user_id", store.schema().user, users);
  }
  items.write(folder + "/items.table");
  users.write(folder + "/users.table");
}

json::Value heads_json(const std::vector<std::string>& tasks, const std::vector<std::vector<float>>& scores) {
  json::Value heads = json::Value::object();
  for (size_t t = 0; t < tasks.size(); ++t) {
    json::Value list = json::Value::array();
    for (float score : scores[t]) list.push_back(static_cast<double>(score));
    heads[tasks[t]] = std::move(list);
  }
  return heads;
}

// The torch-free runtime must say what torch says, before anybody can see the version.
void require_agreement(const runtime::Ranker& ranker, const feature::RequestBatch& batch,
                       const std::vector<std::vector<float>>& expected, double tolerance, size_t request) {
  runtime::Workspace workspace;
  runtime::Scores scores;
  ranker.score(batch, workspace, scores);
  for (size_t t = 0; t < expected.size(); ++t) {
    for (size_t c = 0; c < expected[t].size(); ++c) {
      const double want = expected[t][c], got = scores.heads.at(t).at(c);
      // Written so that NaN fails.
      US_CHECK(
          std::abs(want - got) <= tolerance,
          fmt::format("golden request {}, {} of candidate {}: torch scores {}, the runtime {}; nothing was "
                      "published",
                      request, ranker.heads()[t], c, want, got));
    }
  }
}

}  // namespace

std::string export_bundle(const RunSpec& run, TrainedModel& model) {
  const Options& options = run.options;
  US_REQUIRE(!options.repository.empty(),
             "train.repository: expected a model repository to export to, got nothing");
  for (const auto& [task, weight] : options.score_weights) {
    const auto& tasks = model.model->tasks();
    US_REQUIRE(std::find(tasks.begin(), tasks.end(), task) != tasks.end(),
               fmt::format("train.score_weights.{}: the model has no such task", task));
  }
  bundle::BundleWriter writer(options.repository, options.model_name, 0);
  const std::string& folder = writer.aside();
  write_tensors(folder + "/weights.safetensors", serving_weights(model));
  base::write_file_atomically(folder + "/feature_spec.json", json::dump(model.spec->to_json()) + "\n");
  base::write_file_atomically(folder + "/config.toml", run.resolved_config);
  if (!options.store.empty()) write_tables(options.store, *model.spec, folder);

  const json::Value sequences = runtime::sequences_to_json(run.sequences);
  const auto rules = runtime::sequences_from_json(sequences, "sequence");
  const Scorer scorer = torch_scorer(model);
  std::string golden;
  std::vector<feature::RequestBatch> batches;
  std::vector<std::vector<std::vector<float>>> expected;
  for (runtime::RawRequest& raw :
       sample_requests(run.dataset, run.schema, run.sequences, options.golden_requests)) {
    runtime::keep_known(*model.spec, raw);
    // Through text, as the server will read it: what JSON loses must be lost here too.
    const json::Value request =
        json::parse(json::dump(runtime::raw_request_to_json(raw), -1), "golden request");
    feature::RequestBatch batch;
    runtime::MissingReport missing;
    runtime::to_batch(runtime::raw_request_from_json(request, model.spec->search_domain(), "golden request"),
                      *model.spec, rules, nullptr, nullptr, false, batch, missing);
    expected.push_back(scorer(batch));
    batches.push_back(std::move(batch));
    golden +=
        json::dump({{"request", request}, {"heads", heads_json(model.model->tasks(), expected.back())}}, -1) +
        "\n";
  }
  US_REQUIRE(!golden.empty(), "no request of the search domain to make golden requests of");
  base::write_file_atomically(folder + "/golden.jsonl", golden);

  bundle::Manifest manifest;
  manifest.architecture = run.model.architecture;
  manifest.architecture_options = model.model->architecture_options();
  manifest.architecture_options["sequences"] = sequences;
  manifest.feature_spec_fingerprint = model.spec->fingerprint();
  manifest.score_weights = options.score_weights;
  manifest.code_version = base::kVersion;
  manifest.training = {{"step", model.step}, {"samples", model.sample_fingerprint}};
  writer.write_manifest(manifest);
  const auto ranker = runtime::load_ranker(bundle::Bundle::open(writer.aside()));
  for (size_t i = 0; i < batches.size(); ++i)
    require_agreement(*ranker, batches[i], expected[i], manifest.golden_tolerance, i);
  return writer.publish(manifest);
}

}  // namespace uniscale::train
