#include "serve/rerank_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "serve/rank_api.h"
#include "serve/skim.h"

namespace uniscale::serve {
namespace {

// One document: the id of an item, a text, or an object {"id", "text" or "title", features…}.
struct Document {
  std::string id;
  std::map<std::string, runtime::RawValue> values;
};

runtime::RawValue value_of(const json::Value& value, const std::string& where) {
  if (value.is_null()) return {};
  if (value.is_string()) return runtime::RawValue::of(value.get<std::string>());
  if (value.is_number_integer()) return runtime::RawValue::of(value.get<int64_t>());
  US_REQUIRE(value.is_number(),
             fmt::format("{}: expected a string, a number or null, got {}", where, value.type_name()));
  return runtime::RawValue::of(value.get<double>());
}

// A text stands for an item that no table knows.
std::string id_of_text(const std::string& text) { return "text:" + base::hex64(base::hash_bytes(text, 0)); }

Document document_of(const json::Value& value, const ServedModel& model, const std::string& where) {
  Document out;
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    const bool is_item = static_cast<int64_t>(text.size()) <= kMaxIdBytes && !text.empty() &&
                         (!model.items || model.items->find(text) >= 0);
    out.id = is_item ? text : id_of_text(text);
    if (!is_item) out.values["title"] = runtime::RawValue::of(text);
    return out;
  }
  US_REQUIRE(value.is_object(),
             fmt::format("{}: expected strings or objects, got {}", where, value.type_name()));
  for (const auto& [name, one] : value.items()) {
    if (name == "id") {
      US_REQUIRE(one.is_string(), fmt::format("{}.id: expected a string, got {}", where, one.type_name()));
      out.id = one.get<std::string>();
    } else {
      out.values[name == "text" ? "title" : name] = value_of(one, where + "." + name);
    }
  }
  if (out.id.empty()) {
    const auto title = out.values.find("title");
    US_REQUIRE(title != out.values.end() && title->second.kind == runtime::RawValue::Kind::Text,
               where + ": expected an \"id\" or a \"text\"");
    out.id = id_of_text(title->second.text);
  }
  return out;
}

bool reads(const feature::FeatureSpec& spec, const std::string& name) {
  return std::any_of(spec.features().begin(), spec.features().end(), [&](const feature::Feature& feature) {
    return feature.source == "item." + name || feature.source == "candidate." + name;
  });
}

runtime::RawRequest request_of(const json::Value& body, const ServedModel& model) {
  runtime::RawRequest request;
  request.domain = model.ranker->spec().search_domain();
  request.query = json::string_member(body, "query", "body");
  if (const auto it = body.find("request_id"); it != body.end())
    request.request_id = json::string_member(body, "request_id", "body");
  if (const auto it = body.find("user_id"); it != body.end())
    request.user_id = json::string_member(body, "user_id", "body");
  const json::Value& documents = json::member(body, "documents", "body");
  US_REQUIRE(documents.is_array(),
             fmt::format("body: documents: expected an array, got {}", documents.type_name()));
  for (const json::Value& one : documents) {
    Document document = document_of(one, model, "body: documents");
    for (auto& [name, value] : document.values) {
      // Documents carry what they carry (urls, snippets): what the model does not read is passed over.
      if (!reads(model.ranker->spec(), name)) continue;
      auto& column = request.items[name];
      column.resize(request.item_ids.size());
      column.push_back(std::move(value));
    }
    request.item_ids.push_back(std::move(document.id));
  }
  for (auto& [name, column] : request.items) column.resize(request.item_ids.size());
  return request;
}

std::string rerank_reply(const Ranking& ranking, int64_t top_n) {
  std::string out =
      fmt::format(R"({{"id":{},"results":[)", json::dump(json::Value(ranking.request.request_id), -1));
  bool first = true;
  for (int32_t place : ranking.order(top_n)) {
    out += fmt::format(R"({}{{"index":{},"relevance_score":)", first ? "" : ",", place);
    append_number(ranking.scores[static_cast<size_t>(place)], out);
    out += '}';
    first = false;
  }
  out += fmt::format(R"(],"meta":{{"api_version":{{"version":"1"}},"model":"{}","version":"{}"}}}})",
                     ranking.model.name, ranking.model.version);
  return out;
}

}  // namespace

void add_rerank_routes(Router& router, RankEngine& engine) {
  router.add(
      "POST", "/v1/rerank",
      [&engine](const HttpRequest& request, const PathValues&, const ReplyFunction& reply) {
        if (!is_json_type(request.content_type))
          return reply(error_reply(415, "unsupported_media_type", "expected Content-Type: application/json"));
        const Skim seen = skim(request.body, "documents");
        RankTask task{.model = engine.model_named_in(request.body),
                      .received = request.received,
                      .client = request.client,
                      .request_id = seen.request_id,
                      .deadline_ms = engine.options().default_deadline.ms,
                      .candidates = seen.num_items};
        auto top_n = std::make_shared<int64_t>(-1);
        task.read = [top_n, model = task.model, text = request.body, deadline_ms = task.deadline_ms] {
          const json::Value body = json::parse(text, "body");
          US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
          RankInput input{.request = request_of(body, *model), .deadline_ms = deadline_ms};
          if (const auto it = body.find("top_n"); it != body.end() && !it->is_null()) {
            US_REQUIRE(it->is_number_integer() && it->get<int64_t>() >= 0,
                       "body: top_n: expected a whole number of at least 0");
            *top_n = it->get<int64_t>();
          }
          input.top_k = *top_n;
          return input;
        };
        task.ranked = [top_n, reply](const Ranking& ranking) -> std::function<void()> {
          return
              [reply, body = rerank_reply(ranking, *top_n)]() mutable { reply({.body = std::move(body)}); };
        };
        task.refused = refuse_with(reply);
        engine.submit(std::move(task));
      });
}

}  // namespace uniscale::serve
