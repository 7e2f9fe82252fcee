#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "runtime/raw_request.h"

namespace uniscale::runtime {
namespace {

RawValue value_of(const json::Value& value, const std::string& where) {
  if (value.is_null()) return {};
  if (value.is_string()) return RawValue::of(value.get<std::string>());
  if (value.is_number_integer()) {
    US_REQUIRE(!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX),
               where + ": integer above 2^63 − 1");
    return RawValue::of(value.get<int64_t>());
  }
  if (value.is_number_float()) return RawValue::of(value.get<double>());
  throw base::UserError(
      fmt::format("{}: expected a string, a number or null, got {}", where, value.type_name()));
}

json::Value json_of(const RawValue& value) {
  switch (value.kind) {
    case RawValue::Kind::Null:
      return nullptr;
    case RawValue::Kind::Text:
      return value.text;
    case RawValue::Kind::Double:
      return std::isfinite(value.number) ? json::Value(value.number) : json::Value(nullptr);
    case RawValue::Kind::Int:
      return value.integer;
  }
  US_UNREACHABLE();
}

const json::Value* find(const json::Value& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const json::Value* object_in(const json::Value& object, const char* key, const std::string& where) {
  const json::Value* value = find(object, key);
  US_REQUIRE(value == nullptr || value->is_object(),
             fmt::format("{}: {}: expected an object, got {}", where, key, value->type_name()));
  return value;
}

std::optional<std::string> text_in(const json::Value& object, const char* key, const std::string& where) {
  const json::Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  US_REQUIRE(value->is_string(),
             fmt::format("{}: {}: expected a string, got {}", where, key, value->type_name()));
  return value->get<std::string>();
}

std::optional<int64_t> int_in(const json::Value& object, const char* key, const std::string& where) {
  const json::Value* value = find(object, key);
  if (value == nullptr) return std::nullopt;
  US_REQUIRE(value->is_number_integer(),
             fmt::format("{}: {}: expected an integer, got {}", where, key, value->type_name()));
  return value->get<int64_t>();
}

void read_values(const json::Value* features, const std::string& where,
                 std::map<std::string, RawValue>& out) {
  if (features == nullptr) return;
  for (const auto& [name, value] : features->items()) out[name] = value_of(value, where + "." + name);
}

// The members of `context` that are not columns.
bool is_fixed_context(const std::string& name) { return name == "domain" || name == "ts_ms"; }

}  // namespace

RawRequest raw_request_from_json(const json::Value& value, std::string_view search_domain,
                                 std::string_view where_view) {
  const std::string where(where_view);
  US_REQUIRE(value.is_object(), fmt::format("{}: expected an object, got {}", where, value.type_name()));
  RawRequest request;
  request.request_id = text_in(value, "request_id", where).value_or("");
  request.domain = search_domain;
  if (const json::Value* user = object_in(value, "user", where)) {
    request.user_id = text_in(*user, "id", where + ": user");
    read_values(object_in(*user, "features", where + ": user"), where + ": user.features", request.user);
  }
  if (const json::Value* query = object_in(value, "query", where))
    request.query = text_in(*query, "text", where + ": query");
  if (const json::Value* context = object_in(value, "context", where)) {
    request.domain = text_in(*context, "domain", where + ": context").value_or(std::string(search_domain));
    request.ts_ms = int_in(*context, "ts_ms", where + ": context").value_or(0);
    for (const auto& [name, column] : context->items()) {
      if (!is_fixed_context(name)) request.context[name] = value_of(column, where + ": context." + name);
    }
  }
  if (const json::Value* history = find(value, "history")) {
    US_REQUIRE(history->is_array(),
               fmt::format("{}: history: expected an array, got {}", where, history->type_name()));
    for (const json::Value& one : *history) {
      const std::string at = where + ": history";
      request.history.push_back({.item_id = json::string_member(one, "item_id", at),
                                 .action = json::string_member(one, "action", at),
                                 .domain = text_in(one, "domain", at).value_or(std::string(search_domain)),
                                 .ts_ms = json::int_member(one, "ts_ms", at)});
    }
  }
  if (const json::Value* history = find(value, "query_history")) {
    US_REQUIRE(history->is_array(),
               fmt::format("{}: query_history: expected an array, got {}", where, history->type_name()));
    for (const json::Value& one : *history) {
      const std::string at = where + ": query_history";
      request.query_history.push_back(
          {.query = json::string_member(one, "query", at), .ts_ms = json::int_member(one, "ts_ms", at)});
    }
  }
  const json::Value& items = json::member(value, "items", where);
  const json::Value& ids = json::member(items, "ids", where + ": items");
  US_REQUIRE(ids.is_array(), fmt::format("{}: items.ids: expected an array, got {}", where, ids.type_name()));
  for (const json::Value& id : ids) {
    US_REQUIRE(id.is_string(), fmt::format("{}: items.ids: expected strings, got {}", where, id.type_name()));
    request.item_ids.push_back(id.get<std::string>());
  }
  if (const json::Value* features = object_in(items, "features", where + ": items")) {
    for (const auto& [name, list] : features->items()) {
      const std::string at = where + ": items.features." + name;
      US_REQUIRE(list.is_array(), fmt::format("{}: expected an array, got {}", at, list.type_name()));
      auto& values = request.items[name];
      for (const json::Value& one : list) values.push_back(value_of(one, at));
    }
  }
  return request;
}

json::Value raw_request_to_json(const RawRequest& request) {
  json::Value value;
  value["request_id"] = request.request_id;
  json::Value user = json::Value::object();
  if (request.user_id) user["id"] = *request.user_id;
  json::Value user_features = json::Value::object();
  for (const auto& [name, one] : request.user) user_features[name] = json_of(one);
  user["features"] = std::move(user_features);
  value["user"] = std::move(user);
  if (request.query) value["query"] = {{"text", *request.query}};
  json::Value context = {{"domain", request.domain}, {"ts_ms", request.ts_ms}};
  for (const auto& [name, one] : request.context) context[name] = json_of(one);
  value["context"] = std::move(context);
  json::Value history = json::Value::array();
  for (const HistoryEvent& event : request.history) {
    history.push_back({{"item_id", event.item_id},
                       {"action", event.action},
                       {"domain", event.domain},
                       {"ts_ms", event.ts_ms}});
  }
  value["history"] = std::move(history);
  json::Value queries = json::Value::array();
  for (const HistoryQuery& query : request.query_history)
    queries.push_back({{"query", query.query}, {"ts_ms", query.ts_ms}});
  value["query_history"] = std::move(queries);
  json::Value features = json::Value::object();
  for (const auto& [name, values] : request.items) {
    json::Value list = json::Value::array();
    for (const RawValue& one : values) list.push_back(json_of(one));
    features[name] = std::move(list);
  }
  value["items"] = {{"ids", request.item_ids}, {"features", std::move(features)}};
  return value;
}

}  // namespace uniscale::runtime
