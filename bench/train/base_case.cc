#include "base_case.h"

#include <fmt/format.h>

#include <cmath>

#include "base/random.h"

namespace uniscale::bench {
namespace {

constexpr int kEmbeddingDim = 16;
constexpr int kHistory = 50;

schema::LogSchema make_schema() {
  schema::LogSchema schema;
  for (int i = 0; i < 8; ++i) schema.user.push_back({fmt::format("u{}", i), schema::ValueType::String});
  for (int i = 0; i < 10; ++i) schema.item.push_back({fmt::format("i{}", i), schema::ValueType::String});
  schema.item.push_back({"price", schema::ValueType::Double});
  schema.context = {{"hour", schema::ValueType::Double}};
  return schema;
}

// A hidden taste in ±1 of an id.
double taste(uint64_t what, int32_t id) {
  return (base::random_u64(77, what, static_cast<uint64_t>(id)) & 1U) != 0 ? 1.0 : -1.0;
}

}  // namespace

feature::FeatureSpec make_spec(int64_t num_rows) {
  std::vector<feature::FeatureOptions> features;
  std::vector<feature::TokenOptions> tokens;
  const auto add = [&](feature::FeatureOptions feature, const char* side) {
    tokens.push_back({feature.name, side, {feature.name}});
    features.push_back(std::move(feature));
  };
  const auto categorical = [&](const std::string& name, const std::string& source, const char* table,
                               const char* side) {
    add({.name = name, .source = source, .table = table, .buckets = num_rows, .dim = kEmbeddingDim}, side);
  };
  categorical("user", "user_id", "", "request");
  for (int i = 0; i < 8; ++i) categorical(fmt::format("u{}", i), fmt::format("user.u{}", i), "", "request");
  add({.name = "domain", .source = "domain", .buckets = 8, .dim = kEmbeddingDim}, "request");
  add({.name = "clicks",
       .kind = "sequence",
       .source = "history.clicks.item_id",
       .table = "items",
       .buckets = num_rows,
       .dim = kEmbeddingDim,
       .max_length = kHistory},
      "request");
  add({.name = "hour", .kind = "numeric", .source = "context.hour"}, "request");
  categorical("item", "item_id", "items", "candidate");
  for (int i = 0; i < 10; ++i)
    categorical(fmt::format("i{}", i), fmt::format("item.i{}", i), "", "candidate");
  add({.name = "price", .kind = "numeric", .source = "item.price"}, "candidate");
  return {features, tokens, make_schema(), {"clicks"}, {"search", "feed", "shop"}};
}

model::Options make_options(const std::string& preset, const std::string& ops, uint64_t seed) {
  model::Options options;
  options.architecture = "hhsft";
  options.preset = preset;
  options.tasks = {"click"};
  options.init_seed = static_cast<int64_t>(seed);
  options.embedding_init_stddev = 0.1;
  options.ops = ops;
  return options;
}

feature::RequestBatch make_batch(const feature::FeatureSpec& spec, int num_requests, uint64_t seed) {
  base::RandomStream random(seed, 12);
  feature::RequestBatch batch;
  batch.num_requests = num_requests;
  const int num_candidates = num_requests * kListLength;
  std::vector<int> request_of;
  for (int r = 0; r < num_requests; ++r) {
    batch.domain.push_back(static_cast<int32_t>(random.below(spec.domains().size())));
    batch.candidate_offsets.push_back((r + 1) * kListLength);
    batch.request_weight.push_back(1.0F);
    batch.user_key.push_back(random.next_u64());
    batch.request_key.push_back(random.next_u64());
    batch.ts_ms.push_back(0);
    request_of.insert(request_of.end(), kListLength, r);
  }
  batch.ids.resize(static_cast<size_t>(spec.num_id_slots()));
  batch.floats.resize(static_cast<size_t>(spec.num_float_slots()));
  const auto draw = [&](int64_t rows) {
    const double u = random.uniform();
    return static_cast<int32_t>(1 + static_cast<int64_t>(u * u * u * static_cast<double>(rows - 1)));
  };
  std::vector<double> affinity(static_cast<size_t>(num_candidates), -1.0);
  for (const feature::Feature& feature : spec.features()) {
    const int rows = feature.side == feature::Side::Request ? num_requests : num_candidates;
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      batch.floats[slot].width = static_cast<int>(feature.dim);
      for (int r = 0; r < rows; ++r) {
        batch.floats[slot].values.push_back(static_cast<float>(random.normal()));
        batch.floats[slot].values.push_back(0.0F);
      }
      continue;
    }
    const int64_t table_rows = spec.tables()[static_cast<size_t>(feature.table)].num_rows;
    auto& column = batch.ids[slot];
    if (feature.kind == feature::Kind::Sequence) {
      column.offsets.push_back(0);
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < kHistory; ++i) column.ids.push_back(draw(table_rows));
        column.offsets.push_back(static_cast<int32_t>(column.ids.size()));
      }
    } else if (feature.name == "domain") {
      for (int r = 0; r < rows; ++r) column.ids.push_back(1 + batch.domain[static_cast<size_t>(r)]);
    } else {
      for (int r = 0; r < rows; ++r) column.ids.push_back(draw(table_rows));
    }
  }
  const auto ids = [&](const char* name) -> const std::vector<int32_t>& {
    return batch.ids[static_cast<size_t>(spec.features()[static_cast<size_t>(spec.feature_index(name))].slot)]
        .ids;
  };
  for (int c = 0; c < num_candidates; ++c) {
    const auto at = static_cast<size_t>(c), of = static_cast<size_t>(request_of[at]);
    affinity[at] += taste(1, ids("i0")[at]) + 1.5 * taste(2, ids("i1")[at]) * taste(3, ids("u0")[of]);
    for (size_t t = 0; t < schema::kNumTasks; ++t) {
      const bool label = t == 0 && random.bernoulli(1.0 / (1.0 + std::exp(-affinity[at])));
      batch.tasks[t].label.push_back(label ? 1 : 0);
      batch.tasks[t].weight.push_back(1.0F);
      batch.tasks[t].source.push_back(label ? schema::LabelSource::Native : schema::LabelSource::None);
    }
    batch.origin.push_back(schema::Origin::Exposed);
    batch.position.push_back(-1);
  }
  feature::check_batch(batch, spec);
  return batch;
}

}  // namespace uniscale::bench
