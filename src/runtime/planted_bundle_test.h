// A small dlrm_mlp bundle with random weights and its plain double twin, for tests of runtime and serve.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/temporary_folder_test.h"
#include "bundle/bundle.h"
#include "bundle/entity_table.h"
#include "bundle/safetensors.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "json/json.h"
#include "runtime/raw_request.h"

namespace uniscale::runtime::planted {

inline constexpr int64_t kTokenDim = 5;

using base::TemporaryFolder;

inline feature::FeatureSpec make_spec() {
  schema::LogSchema schema;
  schema.item = {{"price", schema::ValueType::Double}};
  schema.user = {{"city", schema::ValueType::String}};
  schema.context = {{"device", schema::ValueType::String}};
  std::vector<feature::FeatureOptions> features(7);
  features[0] = {.name = "user", .source = "user_id", .buckets = 32, .dim = 4};
  features[1] = {.name = "clicks",
                 .kind = "sequence",
                 .source = "history.clicks.item_id",
                 .table = "items",
                 .buckets = 64,
                 .dim = 4};
  features[2] = {.name = "item", .source = "item_id", .table = "items", .buckets = 64, .dim = 4};
  features[3] = {.name = "title", .kind = "text", .source = "item.title", .buckets = 16, .dim = 3};
  features[4] = {.name = "price", .kind = "numeric", .source = "item.price"};
  features[5] = {.name = "city", .source = "user.city", .buckets = 16, .dim = 2};
  features[6] = {.name = "device", .source = "context.device", .buckets = 8, .dim = 2};
  const std::vector<feature::TokenOptions> tokens = {
      {"user", "request", {"user", "clicks", "city", "device"}},
      {"item", "candidate", {"item", "title"}},
      {"match", "candidate", {"price"}}};
  return {features, tokens, schema, {"clicks"}, {"search", "feed"}};
}

struct Weights {
  std::map<std::string, std::vector<int64_t>> shapes;
  std::map<std::string, std::vector<float>> values;

  void add(base::RandomStream& random, const std::string& name, std::vector<int64_t> shape) {
    int64_t size = 1;
    for (int64_t one : shape) size *= one;
    auto& out = values[name];
    for (int64_t i = 0; i < size; ++i) out.push_back(static_cast<float>(random.below(2001)) * 1e-3F - 1.0F);
    shapes[name] = std::move(shape);
  }
  void add_linear(base::RandomStream& random, const std::string& name, int64_t out, int64_t in) {
    add(random, name + ".weight", {out, in});
    add(random, name + ".bias", {out});
  }
};

// Widths of the two trunk layers; both off the kernels' panel of 16 unless a test wants a slow model.
struct TrunkWidths {
  int64_t first = 19, second = 17;
};

// Heads with a hidden layer of 3.
inline Weights make_weights(const feature::FeatureSpec& spec, uint64_t seed, TrunkWidths trunk = {}) {
  base::RandomStream random(seed, 1);
  Weights weights;
  for (const feature::TableSpec& table : spec.tables())
    weights.add(random, "table." + table.name, {table.num_rows, table.dim});
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const std::string name = "token." + spec.tokens()[t].name;
    weights.add_linear(random, name + ".0", kTokenDim, spec.token_input_dim(static_cast<int>(t)));
    weights.add_linear(random, name + ".1", kTokenDim, kTokenDim);
  }
  weights.add_linear(random, "trunk.0", trunk.first, static_cast<int64_t>(spec.tokens().size()) * kTokenDim);
  weights.add_linear(random, "trunk.1", trunk.second, trunk.first);
  for (const char* task : {"click", "purchase"}) {
    weights.add_linear(random, fmt::format("head.search.{}.0", task), 3, trunk.second);
    weights.add_linear(random, fmt::format("head.search.{}.1", task), 1, 3);
  }
  return weights;
}

// The equations of docs/model.md in doubles, one candidate at a time. Returns [task][candidate].
class Twin {
 public:
  Twin(const feature::FeatureSpec& spec, const Weights& weights) : spec_(spec), weights_(weights) {}

  std::vector<std::vector<double>> score(const feature::RequestBatch& batch) const {
    std::vector<std::vector<double>> out(2);
    for (int32_t r = 0; r < batch.num_requests; ++r) {
      for (int32_t c = batch.candidate_offsets[static_cast<size_t>(r)];
           c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
        std::vector<double> x;
        for (const feature::Side side : {feature::Side::Request, feature::Side::Candidate}) {
          for (const feature::Token& token : spec_.tokens()) {
            if (token.side != side) continue;
            const auto row = static_cast<size_t>(side == feature::Side::Request ? r : c);
            std::vector<double> in;
            for (int f : token.features) append(spec_.features()[static_cast<size_t>(f)], batch, row, in);
            in = linear("token." + token.name + ".0", in);
            for (double& one : in) one = 0.5 * one * (1.0 + std::erf(one / std::numbers::sqrt2));
            in = linear("token." + token.name + ".1", in);
            x.insert(x.end(), in.begin(), in.end());
          }
        }
        x = relu(linear("trunk.1", relu(linear("trunk.0", x))));
        const double click = head("click", x);
        out[0].push_back(click);
        out[1].push_back(click * head("purchase", x));
      }
    }
    return out;
  }

 private:
  void append(const feature::Feature& feature, const feature::RequestBatch& batch, size_t row,
              std::vector<double>& in) const {
    const auto slot = static_cast<size_t>(feature.slot), dim = static_cast<size_t>(feature.dim);
    if (!feature.has_ids) {
      for (size_t d = 0; d < dim; ++d)
        in.push_back(static_cast<double>(batch.floats[slot].values[row * dim + d]));
      return;
    }
    const feature::IdColumn& column = batch.ids[slot];
    const size_t begin = column.offsets.empty() ? row : static_cast<size_t>(column.offsets[row]);
    const size_t end = column.offsets.empty() ? row + 1 : static_cast<size_t>(column.offsets[row + 1]);
    const auto& table =
        weights_.values.at("table." + spec_.tables()[static_cast<size_t>(feature.table)].name);
    for (size_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (size_t i = begin; i < end; ++i)
        sum += static_cast<double>(table[static_cast<size_t>(column.ids[i]) * dim + d]);
      in.push_back(end > begin ? sum / static_cast<double>(end - begin) : 0.0);
    }
  }
  std::vector<double> linear(const std::string& name, const std::vector<double>& x) const {
    const auto& weight = weights_.values.at(name + ".weight");
    const auto& bias = weights_.values.at(name + ".bias");
    std::vector<double> y(bias.begin(), bias.end());
    for (size_t o = 0; o < y.size(); ++o)
      for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(weight[o * x.size() + i]) * x[i];
    return y;
  }
  static std::vector<double> relu(std::vector<double> x) {
    for (double& one : x) one = std::max(one, 0.0);
    return x;
  }
  double head(const std::string& task, const std::vector<double>& x) const {
    const double logit =
        linear("head.search." + task + ".1", relu(linear("head.search." + task + ".0", x)))[0];
    return 1.0 / (1.0 + std::exp(-logit));
  }
  const feature::FeatureSpec& spec_;
  const Weights& weights_;
};

inline std::vector<SequenceRule> make_sequences() { return {{"clicks", {"click"}, {}}}; }

inline RawRequest make_request(int num_items) {
  RawRequest request;
  request.request_id = "golden";
  request.user_id = "u1";
  request.domain = "search";
  request.ts_ms = 1'000'000;
  request.context["device"] = RawValue::of(std::string("ios"));
  request.history = {{"i3", "click", "search", 900'000}, {"i4", "purchase", "search", 950'000}};
  for (int i = 0; i < num_items; ++i) {
    request.item_ids.push_back(fmt::format("i{}", i));
    request.items["price"].push_back(i % 3 == 0 ? RawValue() : RawValue::of(0.1 * i - 1.0));
    request.items["title"].push_back(RawValue::of(fmt::format("red shoes {}", i)));
  }
  return request;
}

// Publishes <repository>/<model>/<next version> and flips CURRENT; the golden scores are the twin's, moved by
// `golden_error`. Items i0 … i9 and user u1 have table rows.
inline std::string publish(const std::string& repository, const std::string& model, uint64_t seed,
                           double golden_error = 0.0, TrunkWidths trunk = {}) {
  bundle::BundleWriter writer(repository, model, 0);
  const feature::FeatureSpec spec = make_spec();
  const Weights weights = make_weights(spec, seed, trunk);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(writer.aside() + "/" + name) << text;
  };
  std::vector<bundle::TensorView> tensors;
  for (const auto& [name, values] : weights.values) {
    tensors.push_back({.name = name,
                       .dtype = bundle::DType::F32,
                       .shape = weights.shapes.at(name),
                       .bytes = std::as_bytes(std::span(values))});
  }
  bundle::write_safetensors(writer.aside() + "/weights.safetensors", tensors, {});
  write("feature_spec.json", json::dump(spec.to_json()));
  write("config.toml", "");
  bundle::EntityTableWriter items(
      {{"price", schema::ValueType::Double}, {"title", schema::ValueType::String}});
  for (int i = 0; i < 10; ++i) {
    const std::string title = fmt::format("blue hat {}", i);
    items.add(fmt::format("i{}", i), {{.text = {}, .number = 0.5 * i, .is_null = false},
                                      {.text = title, .number = 0, .is_null = false}});
  }
  items.write(writer.aside() + "/items.table");
  bundle::EntityTableWriter users({{"city", schema::ValueType::String}});
  users.add("u1", {{.text = "oslo", .number = 0, .is_null = false}});
  users.write(writer.aside() + "/users.table");
  const RawRequest request = make_request(7);
  feature::RequestBatch batch;
  MissingReport missing;
  to_batch(request, spec, make_sequences(), nullptr, nullptr, true, batch, missing);
  auto heads = Twin(spec, weights).score(batch);
  for (double& one : heads[0]) one += golden_error;
  json::Value golden = {{"request", raw_request_to_json(request)},
                        {"heads", {{"click", heads[0]}, {"purchase", heads[1]}}}};
  // A column that the store has and the model does not read.
  golden["request"]["items"]["features"]["score"] = std::vector<double>(7, 0.5);
  write("golden.jsonl", json::dump(golden, -1) + "\n");
  bundle::Manifest manifest;
  manifest.model = model;
  manifest.version = writer.version();
  manifest.architecture = "dlrm_mlp";
  manifest.architecture_options = {{"token_dim", kTokenDim},
                                   {"trunk", {trunk.first, trunk.second}},
                                   {"head", json::Value::array({3})},
                                   {"tasks", {"click", "purchase"}}};
  manifest.architecture_options["sequences"] =
      json::Value::parse(R"([{"name":"clicks","actions":["click"],"domains":[]}])");
  manifest.feature_spec_fingerprint = spec.fingerprint();
  manifest.score_weights = {{"click", 1.0}};
  manifest.training = json::Value::object();
  return writer.publish(manifest);
}

}  // namespace uniscale::runtime::planted
