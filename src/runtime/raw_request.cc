#include "runtime/raw_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "base/error.h"
#include "feature/encode.h"
#include "schema/sample.h"

namespace uniscale::runtime {
namespace {

using feature::Feature;

// Columns of one feature, one value a row, before encoding.
struct ColumnBuffer {
  std::vector<std::string_view> strings;
  std::vector<double> doubles;
  std::vector<int64_t> ints;
  std::vector<uint8_t> ints_valid;
  std::vector<int32_t> offsets;

  void push_missing(schema::ValueType type) {
    switch (type) {
      case schema::ValueType::String:
        strings.emplace_back();
        return;
      case schema::ValueType::Double:
        doubles.push_back(std::numeric_limits<double>::quiet_NaN());
        return;
      case schema::ValueType::Int:
        ints.push_back(0);
        ints_valid.push_back(0);
        return;
    }
  }
  void push_text(std::string_view value) { strings.push_back(value); }
  void push_int(int64_t value) {
    ints.push_back(value);
    ints_valid.push_back(1);
  }

  feature::RawColumn column(int64_t num_rows) const {
    return {.num_rows = num_rows,
            .strings = strings,
            .doubles = doubles,
            .ints = ints,
            .ints_valid = ints_valid,
            .offsets = offsets};
  }
};

void push_value(const RawValue& value, const Feature& feature, ColumnBuffer& out) {
  const auto wrong = [&](std::string_view got) {
    throw base::UserError(fmt::format("feature \"{}\": expected {}, got {}", feature.source,
                                      value_type_name(feature.value_type), got));
  };
  switch (value.kind) {
    case RawValue::Kind::Null:
      out.push_missing(feature.value_type);
      return;
    case RawValue::Kind::Text:
      if (feature.value_type != schema::ValueType::String) wrong("a string");
      out.push_text(value.text);
      return;
    case RawValue::Kind::Double:
      if (feature.value_type != schema::ValueType::Double) wrong("a number");
      out.doubles.push_back(value.number);
      return;
    case RawValue::Kind::Int:
      if (feature.value_type == schema::ValueType::String) wrong("a number");
      if (feature.value_type == schema::ValueType::Double) {
        out.doubles.push_back(static_cast<double>(value.integer));
      } else {
        out.push_int(value.integer);
      }
      return;
  }
}

void push_entity(const bundle::EntityValue& value, const Feature& feature, ColumnBuffer& out) {
  if (value.is_null) {
    out.push_missing(feature.value_type);
    return;
  }
  switch (feature.value_type) {
    case schema::ValueType::String:
      out.push_text(value.text);
      return;
    case schema::ValueType::Double:
      out.doubles.push_back(value.number);
      return;
    case schema::ValueType::Int:
      out.push_int(value.integer);
      return;
  }
}

// The column of `table` that holds `name` with the feature's type; −1 if there is none.
int table_column(const bundle::EntityTable* table, std::string_view name, schema::ValueType type) {
  if (table == nullptr) return -1;
  for (size_t c = 0; c < table->columns().size(); ++c) {
    if (table->columns()[c].name == name && table->columns()[c].type == type) return static_cast<int>(c);
  }
  return -1;
}

std::string_view after_dot(std::string_view source) { return source.substr(source.find('.') + 1); }

void push_optional_text(const std::optional<std::string>& text, ColumnBuffer& out) {
  out.push_text(text ? std::string_view(*text) : std::string_view());
}

bool belongs(const HistoryEvent& event, const SequenceRule& rule) {
  const auto holds = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return holds(rule.actions, event.action) && (rule.domains.empty() || holds(rule.domains, event.domain));
}

void fill_history(const RawRequest& request, const Feature& feature,
                  const std::vector<SequenceRule>& sequences, ColumnBuffer& out) {
  out.offsets.push_back(0);
  if (feature.source == "query_history") {
    for (const HistoryQuery& query : request.query_history) out.push_text(query.query);
    out.offsets.push_back(static_cast<int32_t>(out.strings.size()));
    return;
  }
  const std::string_view rest = after_dot(feature.source);
  const std::string_view name = rest.substr(0, rest.find('.')), field = after_dot(rest);
  const auto rule =
      std::find_if(sequences.begin(), sequences.end(), [&](const SequenceRule& s) { return s.name == name; });
  US_REQUIRE(rule != sequences.end(),
             fmt::format("feature \"{}\": the bundle declares no sequence \"{}\"", feature.name, name));
  for (const HistoryEvent& event : request.history) {
    if (!belongs(event, *rule)) continue;
    if (field == "item_id") out.push_text(event.item_id);
    if (field == "action") out.push_text(event.action);
    if (field == "domain") out.push_text(event.domain);
    if (field == "age_bucket") out.push_int(age_bucket(request.ts_ms, event.ts_ms));
  }
  out.offsets.push_back(static_cast<int32_t>(out.strings.size() + out.ints.size()));
}

void fill_request_side(const RawRequest& request, const Feature& feature,
                       const std::vector<SequenceRule>& sequences, const bundle::EntityTable* users,
                       int64_t user_row, ColumnBuffer& out) {
  const std::string& source = feature.source;
  if (feature.kind == feature::Kind::Sequence) return fill_history(request, feature, sequences, out);
  if (source == "user_id") return push_optional_text(request.user_id, out);
  if (source == "query") return push_optional_text(request.query, out);
  if (source == "domain") return out.push_text(request.domain);
  if (source == "query_tier") return out.push_int(0);  // a real search request
  const bool is_user = source.starts_with("user.");
  const auto& values = is_user ? request.user : request.context;
  const std::string name(after_dot(source));
  if (const auto it = values.find(name); it != values.end()) return push_value(it->second, feature, out);
  const int column = is_user && user_row >= 0 ? table_column(users, name, feature.value_type) : -1;
  column >= 0 ? push_entity(users->value(user_row, column), feature, out)
              : out.push_missing(feature.value_type);
}

// Where an item's values are.
struct ItemRow {
  int64_t row = -1;  // of the table
  const bundle::FreshRow* fresh = nullptr;
};

// Embeddings stand in the item table as the bytes of their floats (docs/formats/bundle.md); a request cannot
// bring them.
void fill_vectors(const RawRequest& request, const Feature& feature, const bundle::EntityTable* items,
                  const std::vector<ItemRow>& item_rows, ColumnBuffer& out) {
  const std::string name(after_dot(feature.source));
  US_REQUIRE(
      !request.items.contains(name),
      fmt::format("items.features.{}: expected none, embeddings come from the bundle's item table", name));
  const int column = table_column(items, name, schema::ValueType::String);
  out.offsets.push_back(0);
  for (const auto& [row, fresh] : item_rows) {
    const auto newer = fresh ? fresh->value(name, schema::ValueType::String) : std::nullopt;
    std::string_view bytes;
    if (newer) {
      // Of another length if it was given for a model with other embeddings.
      if (newer->text.size() == static_cast<size_t>(feature.dim - 1) * sizeof(float)) bytes = newer->text;
    } else if (column >= 0 && row >= 0) {
      bytes = items->value(row, column).text;
    }
    for (size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof(float));
      out.doubles.push_back(static_cast<double>(value));
    }
    out.offsets.push_back(static_cast<int32_t>(out.doubles.size()));
  }
}

void fill_candidate_side(const RawRequest& request, const Feature& feature, const bundle::EntityTable* items,
                         const std::vector<ItemRow>& item_rows, ColumnBuffer& out) {
  if (feature.source == "item_id") {
    for (const std::string& id : request.item_ids) out.push_text(id);
    return;
  }
  if (feature.kind == feature::Kind::Vector) return fill_vectors(request, feature, items, item_rows, out);
  // A name that item and candidate both declare is told apart by its whole source.
  const std::string name(after_dot(feature.source));
  auto it = request.items.find(feature.source);
  if (it == request.items.end()) it = request.items.find(name);
  if (it != request.items.end()) {
    for (const RawValue& value : it->second) push_value(value, feature, out);
    return;
  }
  const bool is_item = feature.source.starts_with("item.");
  const int column = is_item ? table_column(items, name, feature.value_type) : -1;
  for (const auto& [row, fresh] : item_rows) {
    const auto newer = is_item && fresh ? fresh->value(name, feature.value_type) : std::nullopt;
    if (newer) {
      push_entity(*newer, feature, out);
    } else {
      column >= 0 && row >= 0 ? push_entity(items->value(row, column), feature, out)
                              : out.push_missing(feature.value_type);
    }
  }
}

// Names that the model reads, for strict requests and their errors.
std::vector<std::string> names_of(const feature::FeatureSpec& spec,
                                  std::initializer_list<std::string_view> prefixes) {
  std::vector<std::string> names;
  for (const Feature& feature : spec.features()) {
    for (std::string_view prefix : prefixes) {
      if (feature.source.starts_with(prefix)) names.emplace_back(after_dot(feature.source));
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

// Bare names and whole sources ("item.price"), which tell a name apart that both sides declare.
std::vector<std::string> item_names_of(const feature::FeatureSpec& spec) {
  std::vector<std::string> names = names_of(spec, {"item.", "candidate."});
  for (const Feature& feature : spec.features()) {
    if (feature.source.starts_with("item.") || feature.source.starts_with("candidate."))
      names.push_back(feature.source);
  }
  return names;
}

// `shown`: the names that the error lists.
template <class Map>
void require_known(const Map& values, const std::vector<std::string>& known, std::string_view where,
                   const std::vector<std::string>& shown) {
  for (const auto& [name, value] : values) {
    US_REQUIRE(
        std::find(known.begin(), known.end(), name) != known.end(),
        fmt::format("{}: unknown feature \"{}\" (the model reads: {})", where, name, fmt::join(shown, ", ")));
  }
}

}  // namespace

void keep_known(const feature::FeatureSpec& spec, RawRequest& request) {
  const auto keep = [](auto& values, const std::vector<std::string>& known) {
    std::erase_if(values, [&](const auto& one) {
      return std::find(known.begin(), known.end(), one.first) == known.end();
    });
  };
  keep(request.user, names_of(spec, {"user."}));
  keep(request.context, names_of(spec, {"context."}));
  keep(request.items, item_names_of(spec));
}

std::vector<ItemColumn> item_columns(const feature::FeatureSpec& spec) {
  std::vector<ItemColumn> columns;
  for (const Feature& feature : spec.features()) {
    if (!feature.source.starts_with("item.")) continue;
    const bool is_vector = feature.kind == feature::Kind::Vector;
    columns.push_back({.name = std::string(after_dot(feature.source)),
                       .type = is_vector ? schema::ValueType::String : feature.value_type,
                       .vector_size = is_vector ? feature.dim - 1 : 0});
  }
  std::sort(columns.begin(), columns.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  columns.erase(std::unique(columns.begin(), columns.end(),
                            [](const auto& a, const auto& b) { return a.name == b.name; }),
                columns.end());
  return columns;
}

int32_t age_bucket(int64_t request_ts_ms, int64_t event_ts_ms) {
  // Unsigned difference: hostile times must not overflow.
  if (event_ts_ms >= request_ts_ms) return 0;
  const uint64_t seconds = (static_cast<uint64_t>(request_ts_ms) - static_cast<uint64_t>(event_ts_ms)) / 1000;
  return static_cast<int32_t>(std::bit_width(1 + seconds)) - 1;
}

json::Value sequences_to_json(const std::vector<schema::SequenceOptions>& sequences) {
  json::Value out = json::Value::array();
  for (const auto& one : sequences)
    out.push_back({{"name", one.name}, {"actions", one.actions}, {"domains", one.domains}});
  return out;
}

std::vector<SequenceRule> sequences_from_json(const json::Value& value, std::string_view where) {
  US_REQUIRE(value.is_array() && value.size() <= 1000,
             fmt::format("{}: sequences: expected an array", where));
  std::vector<SequenceRule> rules;
  for (const json::Value& one : value) {
    SequenceRule rule{.name = json::string_member(one, "name", where)};
    for (const auto& [key, list] :
         {std::pair{"actions", &rule.actions}, std::pair{"domains", &rule.domains}}) {
      for (const json::Value& name : json::member(one, key, where)) {
        US_REQUIRE(name.is_string(), fmt::format("{}: sequences: {}: expected strings", where, key));
        list->push_back(name.get<std::string>());
      }
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

void to_batch(const RawRequest& request, const feature::FeatureSpec& spec,
              const std::vector<SequenceRule>& sequences, const bundle::EntityTable* items,
              const bundle::EntityTable* users, bool strict, feature::RequestBatch& batch,
              MissingReport& missing, const bundle::FreshItems* fresh) {
  const int domain = spec.domain_index(request.domain);
  US_REQUIRE(domain >= 0, fmt::format("context.domain: expected one of {}, got \"{}\"",
                                      fmt::join(spec.domains(), ", "), request.domain));
  if (strict) {
    const auto user = names_of(spec, {"user."}), context = names_of(spec, {"context."});
    require_known(request.user, user, "user.features", user);
    require_known(request.context, context, "context", context);
    require_known(request.items, item_names_of(spec), "items.features",
                  names_of(spec, {"item.", "candidate."}));
  }
  const size_t num_items = request.item_ids.size();
  for (const auto& [name, values] : request.items) {
    US_REQUIRE(values.size() == num_items,
               fmt::format("items.features.{}: expected {} values, got {}", name, num_items, values.size()));
  }
  batch.num_requests = 1;
  batch.candidate_offsets = {0, static_cast<int32_t>(num_items)};
  batch.ids.resize(static_cast<size_t>(spec.num_id_slots()));
  batch.floats.resize(static_cast<size_t>(spec.num_float_slots()));
  for (auto& column : batch.ids) {
    column.ids.clear();
    column.offsets.clear();
  }
  for (auto& column : batch.floats) column.values.clear();
  batch.domain.assign(1, domain);
  missing = {};
  const int64_t user_row = users != nullptr && request.user_id ? users->find(*request.user_id) : -1;
  missing.user = users != nullptr && user_row < 0;
  std::vector<int64_t> table_rows(num_items, -1);
  std::vector<const bundle::FreshRow*> fresh_rows(num_items, nullptr);
  if (items != nullptr) items->find_all(request.item_ids, table_rows);
  if (fresh != nullptr && fresh->size() > 0) fresh->find_all(request.item_ids, fresh_rows);
  std::vector<ItemRow> item_rows(num_items);
  for (size_t i = 0; i < num_items; ++i) {
    item_rows[i] = {table_rows[i], fresh_rows[i]};
    if (items != nullptr && item_rows[i].row < 0 && item_rows[i].fresh == nullptr)
      missing.items.push_back(static_cast<int32_t>(i));
  }
  for (const Feature& feature : spec.features()) {
    ColumnBuffer buffer;
    const bool is_request = feature.side == feature::Side::Request;
    if (is_request) {
      fill_request_side(request, feature, sequences, users, user_row, buffer);
    } else {
      fill_candidate_side(request, feature, items, item_rows, buffer);
    }
    const auto rows = is_request ? int64_t{1} : static_cast<int64_t>(num_items);
    encode(feature, feature.table >= 0 ? &spec.tables()[static_cast<size_t>(feature.table)] : nullptr,
           buffer.column(rows), batch);
  }
}

}  // namespace uniscale::runtime
