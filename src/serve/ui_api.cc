#include "serve/ui_api.h"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "serve/rank_api.h"

namespace uniscale::serve {
namespace {

HttpReply page() {
  return {.content_type = "text/html; charset=utf-8",
          .body = kPage,
          .headers = {{"Content-Security-Policy", kPagePolicy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cache-Control", "no-cache"}}};
}

HttpReply examples(const ServedModel& model) {
  std::string out = fmt::format(R"({{"model":"{}","version":"{}","examples":[)", model.name, model.version);
  for (size_t i = 0; i < model.examples.size(); ++i) out += (i > 0 ? "," : "") + model.examples[i];
  return {.body = out + "]}"};
}

// Null where there is none, or it is no text (an embedding).
json::Value value_of(const bundle::EntityValue& value, schema::ValueType type) {
  if (value.is_null) return nullptr;
  switch (type) {
    case schema::ValueType::String:
      return std::string(value.text);
    case schema::ValueType::Double:
      return std::isfinite(value.number) ? json::Value(value.number) : json::Value(nullptr);
    case schema::ValueType::Int:
      return value.integer;
  }
  US_UNREACHABLE();
}

json::Value item_of(const std::string& id, const ServedModel& model, const bundle::FreshItems& fresh_items) {
  std::vector<schema::DeclaredColumn> columns;
  std::set<std::string> seen{"embedding"};
  if (model.items)
    for (const auto& column : model.items->columns())
      if (seen.insert(column.name).second) columns.push_back(column);
  for (const auto& column : runtime::item_columns(model.ranker->spec()))
    if (column.vector_size == 0 && seen.insert(column.name).second)
      columns.push_back({column.name, column.type});
  const bundle::FreshRow* fresh = fresh_items.find(id);
  const int64_t row = model.items ? model.items->find(id) : -1;
  json::Value features = json::Value::object();
  for (const auto& column : columns) {
    const auto newer = fresh ? fresh->value(column.name, column.type) : std::nullopt;
    if (newer) {
      features[column.name] = value_of(*newer, column.type);
      continue;
    }
    if (row < 0) continue;
    for (size_t c = 0; c < model.items->columns().size(); ++c) {
      if (model.items->columns()[c] == column)
        features[column.name] = value_of(model.items->value(row, static_cast<int>(c)), column.type);
    }
  }
  return {{"id", id},
          {"known", fresh != nullptr || row >= 0},
          {"fresh", fresh != nullptr},
          {"features", std::move(features)}};
}

HttpReply lookup(const HttpRequest& request, const RankEngine& engine,
                 const bundle::FreshItemStore& fresh_items) {
  if (!is_json_type(request.content_type))
    return error_reply(415, "unsupported_media_type", "expected Content-Type: application/json");
  try {
    const json::Value body = json::parse(request.body, "body");
    US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
    const auto model =
        engine.model(json::string_member(body, "model", "body"), query_value(request, "version"));
    const json::Value& ids = json::member(body, "ids", "body");
    US_REQUIRE(ids.is_array(), fmt::format("body: ids: expected an array, got {}", ids.type_name()));
    if (static_cast<int64_t>(ids.size()) > engine.options().max_items) {
      throw Refusal{413, "too_many_items",
                    fmt::format("ids: expected at most {}, got {}", engine.options().max_items, ids.size())};
    }
    const auto fresh = fresh_items.state();
    json::Value items = json::Value::array();
    for (const json::Value& id : ids) {
      US_REQUIRE(id.is_string(), fmt::format("body: ids: expected strings, got {}", id.type_name()));
      items.push_back(item_of(id.get<std::string>(), *model, *fresh));
    }
    return {.body = json::dump({{"model", model->name},
                                {"version", std::to_string(model->version)},
                                {"items", std::move(items)}},
                               -1)};
  } catch (const base::UserError& error) {
    return error_reply(400, "invalid_request", base::full_message(error));
  }
}

}  // namespace

void add_ui_routes(Router& router, const RankEngine& engine, const bundle::FreshItemStore& fresh_items) {
  router.add_plain("GET", "/ui", [](const HttpRequest&, const PathValues&) { return page(); });
  router.add_plain("GET", "/v1/models/{model}/examples",
                   [&engine](const HttpRequest& request, const PathValues& values) {
                     return examples(*engine.model(values[0], query_value(request, "version")));
                   });
  router.add_plain("POST", "/v1/items:lookup",
                   [&engine, &fresh_items](const HttpRequest& request, const PathValues&) {
                     return lookup(request, engine, fresh_items);
                   });
}

}  // namespace uniscale::serve
