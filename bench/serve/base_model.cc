#include "base_model.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>

#include "base/random.h"
#include "bundle/entity_table.h"
#include "bundle/safetensors.h"
#include "runtime/hhsft_twin_test.h"

namespace uniscale::bench {
namespace {

constexpr int kNumItems = 20000;

using schema::ValueType;

schema::LogSchema make_schema() {
  schema::LogSchema schema;
  schema.item = {{"brand", ValueType::String}};
  for (int i = 0; i < 5; ++i) schema.item.push_back({fmt::format("i{}", i), ValueType::String});
  schema.item.push_back({"price", ValueType::Double});
  for (int i = 0; i < 4; ++i) schema.user.push_back({fmt::format("u{}", i), ValueType::String});
  schema.context = {{"city", ValueType::String}, {"device", ValueType::String}};
  schema.candidate = {{"bm25", ValueType::Double}};
  return schema;
}

feature::FeatureSpec make_spec() {
  std::vector<feature::FeatureOptions> features;
  std::vector<feature::TokenOptions> tokens;
  // Every token has one or two features of width 32.
  const auto categorical = [&](const std::string& name, const std::string& source, const char* table = "") {
    features.push_back({.name = name, .source = source, .table = table, .buckets = 50000, .dim = 32});
  };
  const auto token = [&](const std::string& name, const char* side, std::vector<std::string> of) {
    tokens.push_back({name, side, std::move(of)});
  };
  const auto sequence = [&](const char* name, const char* source, const char* table) {
    features.push_back({.name = name,
                        .kind = "sequence",
                        .source = source,
                        .table = table,
                        .buckets = 50000,
                        .dim = 32,
                        .max_length = 50});
  };
  categorical("user_id", "user_id");
  token("user", "request", {"user_id"});
  categorical("device", "context.device");
  categorical("city", "context.city");
  token("context", "request", {"device", "city"});
  for (int i = 0; i < 4; ++i) {
    categorical(fmt::format("u{}", i), fmt::format("user.u{}", i));
    token(fmt::format("u{}", i), "request", {fmt::format("u{}", i)});
  }
  features.push_back({.name = "query_text", .kind = "text", .source = "query", .buckets = 50000, .dim = 32});
  token("query", "request", {"query_text"});
  sequence("clicks", "history.clicks.item_id", "items");
  sequence("click_ages", "history.clicks.age_bucket", "ages");
  token("clicks", "request", {"clicks", "click_ages"});
  sequence("purchases", "history.purchases.item_id", "items");
  token("purchases", "request", {"purchases"});
  sequence("purchase_ages", "history.purchases.age_bucket", "ages");
  token("purchase_ages", "request", {"purchase_ages"});
  sequence("click_domains", "history.clicks.domain", "domains");
  token("click_domains", "request", {"click_domains"});
  categorical("domain", "domain", "domains");
  token("domain", "request", {"domain"});

  categorical("item_id", "item_id", "items");
  token("item", "candidate", {"item_id"});
  features.push_back({.name = "title", .kind = "text", .source = "item.title", .buckets = 50000, .dim = 32});
  token("title", "candidate", {"title"});
  categorical("category", "item.category");
  categorical("brand", "item.brand");
  token("category", "candidate", {"category"});
  token("brand", "candidate", {"brand"});
  for (int i = 0; i < 5; ++i) {
    categorical(fmt::format("i{}", i), fmt::format("item.i{}", i));
    token(fmt::format("i{}", i), "candidate", {fmt::format("i{}", i)});
  }
  for (const auto& [name, source] : {std::pair("price", "item.price"), std::pair("score", "candidate.score"),
                                     std::pair("bm25", "candidate.bm25")}) {
    features.push_back({.name = name, .kind = "numeric", .source = source});
    token(name, "candidate", {name});
  }
  return {features, tokens, make_schema(), {"clicks", "purchases"}, {"search", "feed", "shop"}};
}

runtime::planted::HhsftShape make_shape(int64_t width) {
  runtime::planted::HhsftShape shape;
  shape.width = shape.gfa_dim = width;
  shape.num_heads = 4;
  shape.num_layers = 3;
  shape.ffn_ratio = 4;
  shape.gfa_tokens = 24;
  shape.rank_qk = 128;
  shape.rank_v = 256;
  shape.readout = {512, 512};
  shape.dref_expert = {512, 256};
  shape.dref_gate = {64};
  shape.dapga_expert = {256, 256};
  shape.dapga_gate = {256};
  shape.head = {64};
  shape.tasks = {"click"};
  return shape;
}

void write_tables(const std::string& folder) {
  base::RandomStream random(5, 2);
  const auto text = [&](const char* kind, uint64_t count) {
    return fmt::format("{}{}", kind, random.below(count));
  };
  const schema::LogSchema schema = make_schema();
  std::vector<schema::DeclaredColumn> columns = schema.item;
  columns.push_back({"title", ValueType::String});
  columns.push_back({"category", ValueType::String});
  bundle::EntityTableWriter items(columns), users(schema.user);
  for (int i = 0; i < kNumItems; ++i) {
    std::vector<std::string> texts;
    std::vector<bundle::EntityValue> values;
    for (const schema::DeclaredColumn& column : columns)
      texts.push_back(column.name == "title" ? fmt::format("{} {} shoes for {}", text("brand", 300),
                                                           text("red", 40), text("people", 9))
                                             : text(column.name.c_str(), 500));
    for (size_t c = 0; c < columns.size(); ++c) {
      const bool number = columns[c].type == ValueType::Double;
      values.push_back({.text = texts[c],
                        .number = number ? static_cast<double>(random.below(1000)) * 1e-3 : 0.0,
                        .is_null = false});
    }
    items.add(fmt::format("item{}", i), values);
  }
  items.write(folder + "/items.table");
  std::vector<std::string> texts;
  std::vector<bundle::EntityValue> values;
  for (size_t c = 0; c < schema.user.size(); ++c) texts.push_back(text("group", 100));
  for (const std::string& one : texts) values.push_back({.text = one, .number = 0, .is_null = false});
  users.add("user1", values);
  users.write(folder + "/users.table");
}

}  // namespace

std::string publish_base_model(const std::string& repository, int64_t width) {
  const feature::FeatureSpec spec = make_spec();
  const auto shape = make_shape(width);
  return runtime::planted::publish_hhsft(
      repository, shape, runtime::planted::make_hhsft_weights(spec, shape, 1), spec, {}, write_tables);
}

std::string publish_served_model(const std::string& repository, int64_t width) {
  const runtime::planted::TemporaryFolder scratch;
  const auto ranker = runtime::load_ranker(bundle::Bundle::open(publish_base_model(scratch.path(), width)));
  const runtime::RawRequest request = make_request(50);
  feature::RequestBatch batch;
  runtime::MissingReport missing;
  runtime::to_batch(request, ranker->spec(), make_sequences(), nullptr, nullptr, true, batch, missing);
  runtime::Workspace workspace;
  runtime::Scores scores;
  ranker->score(batch, workspace, scores);
  const json::Value golden = {{"request", runtime::raw_request_to_json(request)},
                              {"heads", {{"click", scores.heads[0]}}}};
  const feature::FeatureSpec spec = make_spec();
  const auto shape = make_shape(width);
  return runtime::planted::publish_hhsft(
      repository, shape, runtime::planted::make_hhsft_weights(spec, shape, 1), spec,
      [](json::Value& options) {
        options["sequences"] = json::Value::array();
        for (const runtime::SequenceRule& rule : make_sequences()) {
          options["sequences"].push_back(
              {{"name", rule.name}, {"actions", rule.actions}, {"domains", rule.domains}});
        }
      },
      [&](const std::string& aside) {
        write_tables(aside);
        std::ofstream(aside + "/golden.jsonl") << json::dump(golden, -1) << "\n";
      });
}

std::vector<runtime::SequenceRule> make_sequences() {
  return {{"clicks", {"click"}, {}}, {"purchases", {"purchase"}, {}}};
}

runtime::RawRequest make_request(int num_candidates) {
  using runtime::RawValue;
  base::RandomStream random(9, 2);
  runtime::RawRequest request;
  request.request_id = "bench";
  request.user_id = "user1";
  request.query = "red running shoes";
  request.domain = "search";
  request.ts_ms = 1'704'103'200'000;
  request.context["device"] = RawValue::of(std::string("ios"));
  request.context["city"] = RawValue::of(std::string("oslo"));
  for (int i = 70; i > 0; --i) {
    request.history.push_back({fmt::format("item{}", random.below(kNumItems)),
                               i % 5 == 0 ? "purchase" : "click", i % 2 == 0 ? "search" : "feed",
                               request.ts_ms - i * 600'000});
  }
  for (int i = 0; i < num_candidates; ++i) {
    request.item_ids.push_back(fmt::format("item{}", (i * 7919 + 13) % kNumItems));
    request.items["score"].push_back(RawValue::of(static_cast<double>(random.below(1000)) * 1e-2));
    request.items["bm25"].push_back(RawValue::of(static_cast<double>(random.below(1000)) * 1e-2));
  }
  return request;
}

void write_inputs(const bundle::Bundle& bundle, const feature::FeatureSpec& spec,
                  const feature::RequestBatch& batch, const std::vector<float>& logits,
                  const std::string& path) {
  const bundle::SafetensorsFile weights(*bundle.file("weights.safetensors"));
  std::vector<std::vector<float>> values;
  std::vector<bundle::TensorView> tensors;
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const feature::Token& token = spec.tokens()[t];
    const int64_t rows = token.side == feature::Side::Request ? batch.num_requests : batch.num_candidates();
    const int64_t width = spec.token_input_dim(static_cast<int>(t));
    std::vector<float> out;
    for (int64_t r = 0; r < rows; ++r) {
      for (int f : token.features) {
        const feature::Feature& feature = spec.features()[static_cast<size_t>(f)];
        const auto slot = static_cast<size_t>(feature.slot), row = static_cast<size_t>(r);
        for (int64_t d = 0; d < feature.dim; ++d) {
          if (!feature.has_ids) {
            out.push_back(
                batch.floats[slot].values[row * static_cast<size_t>(feature.dim) + static_cast<size_t>(d)]);
            continue;
          }
          const feature::IdColumn& column = batch.ids[slot];
          const auto table =
              weights.find("table." + spec.tables()[static_cast<size_t>(feature.table)].name)->f32();
          const size_t begin = column.offsets.empty() ? row : static_cast<size_t>(column.offsets[row]);
          const size_t end = column.offsets.empty() ? row + 1 : static_cast<size_t>(column.offsets[row + 1]);
          double sum = 0;
          for (size_t i = begin; i < end; ++i)
            sum += static_cast<double>(
                table[static_cast<size_t>(column.ids[i]) * static_cast<size_t>(feature.dim) +
                      static_cast<size_t>(d)]);
          out.push_back(end > begin ? static_cast<float>(sum / static_cast<double>(end - begin)) : 0.0F);
        }
      }
    }
    values.push_back(std::move(out));
    tensors.push_back({.name = "input." + token.name, .dtype = bundle::DType::F32, .shape = {rows, width}});
  }
  for (size_t t = 0; t < values.size(); ++t) tensors[t].bytes = std::as_bytes(std::span(values[t]));
  tensors.push_back({.name = "logit.click",
                     .dtype = bundle::DType::F32,
                     .shape = {static_cast<int64_t>(logits.size())},
                     .bytes = std::as_bytes(std::span(logits))});
  bundle::write_safetensors(path, tensors, {});
}

}  // namespace uniscale::bench
