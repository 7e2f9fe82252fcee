// One request with raw values, and the one way from raw values to a RequestBatch outside the sample reader:
// the server fills a RawRequest from JSON, the exporter from sample rows; both go through feature/encode.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/entity_table.h"
#include "bundle/fresh_items.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "json/json.h"
#include "schema/log_schema.h"

namespace uniscale::runtime {

// A feature value as it came: text, number (integers keep their digits), or null.
struct RawValue {
  enum class Kind { Null, Text, Double, Int };
  Kind kind = Kind::Null;
  std::string text;
  double number = 0;
  int64_t integer = 0;

  static RawValue of(std::string value) { return {.kind = Kind::Text, .text = std::move(value)}; }
  static RawValue of(double value) { return {.kind = Kind::Double, .number = value}; }
  static RawValue of(int64_t value) { return {.kind = Kind::Int, .integer = value}; }
};

struct HistoryEvent {
  std::string item_id;
  std::string action;
  std::string domain;
  int64_t ts_ms = 0;
};

struct HistoryQuery {
  std::string query;
  int64_t ts_ms = 0;
};

struct RawRequest {
  std::string request_id;
  std::optional<std::string> user_id;
  std::optional<std::string> query;
  std::string domain;
  int64_t ts_ms = 0;
  std::map<std::string, RawValue> user;     // declared columns of the user; override the users table
  std::map<std::string, RawValue> context;  // declared context columns
  std::vector<HistoryEvent> history;        // oldest first
  std::vector<HistoryQuery> query_history;  // oldest first
  std::vector<std::string> item_ids;
  // By feature name: a declared candidate or item column, "score", "title" or "category"; one value an item.
  // Override the items table.
  std::map<std::string, std::vector<RawValue>> items;
};

// A sequence of the model: which events of a flat history belong to it.
struct SequenceRule {
  std::string name;
  std::vector<std::string> actions;
  std::vector<std::string> domains;  // empty: all
};
json::Value sequences_to_json(const std::vector<schema::SequenceOptions>& sequences);
std::vector<SequenceRule> sequences_from_json(const json::Value& value, std::string_view where);

// What was not known.
struct MissingReport {
  bool user = false;
  std::vector<int32_t> items;  // places in item_ids
};

// Encodes `request` into `batch` (emptied first). A value of the request wins, then one of a fresh row, then
// the table's. Null tables: nothing is known but what the request says.
// Throws UserError for a feature name that the model does not have (with `strict`), a value of another type,
// or a domain that is not the model's.
void to_batch(const RawRequest& request, const feature::FeatureSpec& spec,
              const std::vector<SequenceRule>& sequences, const bundle::EntityTable* items,
              const bundle::EntityTable* users, bool strict, feature::RequestBatch& batch,
              MissingReport& missing, const bundle::FreshItems* fresh = nullptr);

// Item columns that the model reads, by their bare names.
struct ItemColumn {
  std::string name;
  schema::ValueType type = schema::ValueType::String;
  int64_t vector_size = 0;  // of an embedding; 0: not one
};
std::vector<ItemColumn> item_columns(const feature::FeatureSpec& spec);

// Drops values that the model does not read, so that a strict reader takes the request.
void keep_known(const feature::FeatureSpec& spec, RawRequest& request);

// floor(log2(1 + seconds)) of an event's age (es3.md §5); 0 if it lies in the future.
int32_t age_bucket(int64_t request_ts_ms, int64_t event_ts_ms);

// The body of the rank API (serving.md §1). Throws UserError naming the key.
RawRequest raw_request_from_json(const json::Value& value, std::string_view search_domain,
                                 std::string_view where);
json::Value raw_request_to_json(const RawRequest& request);

}  // namespace uniscale::runtime
