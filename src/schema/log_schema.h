// What a log row is: the tables of the log store ⓪ (es3.md §0), their fixed columns and the feature columns a
// shop declares. Values only; no I/O. The same schema describes ingest's output, es3's input, and what the
// server logs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "config/config.h"

namespace uniscale::schema {

// A declared feature column: how its values are held.
enum class ValueType { String, Double, Int };
std::string_view value_type_name(ValueType type);

struct DeclaredColumn {
  std::string name;
  ValueType type = ValueType::String;
  bool operator==(const DeclaredColumn&) const = default;
};

// `[schema]` as written; types by name ("string", "double", "int").
struct SchemaOptions {
  std::string search_domain = "search";
  int64_t num_buckets = 16;
  int64_t hash_seed = 0;
  config::StringMap context;
  config::StringMap candidate;
  config::StringMap item;
  config::StringMap user;
};
const config::Section<SchemaOptions>& schema_section();

// `[[sequence]]`: one history sequence of a user (es3.md §5).
struct SequenceOptions {
  std::string name;
  std::vector<std::string> actions = {"click"};
  std::vector<std::string> domains;  // empty: all
};
const config::ArraySection<SequenceOptions>& sequence_section();

struct LogSchema {
  std::string search_domain = "search";
  int num_buckets = 16;
  uint64_t hash_seed = 0;
  // Each sorted by name.
  std::vector<DeclaredColumn> context;
  std::vector<DeclaredColumn> candidate;
  std::vector<DeclaredColumn> item;
  std::vector<DeclaredColumn> user;
  bool operator==(const LogSchema&) const = default;

  // Content hash of everything above, hex: two stores with one fingerprint have the same columns.
  std::string fingerprint() const;
};

// Throws UserError if a declared name is not [a-z][a-z0-9_]* or collides with a fixed column.
LogSchema make_log_schema(const SchemaOptions& options);

// Actions that carry labels; other names in the log are kept and may feed histories.
inline constexpr std::string_view kClick = "click";
inline constexpr std::string_view kCart = "cart";
inline constexpr std::string_view kPurchase = "purchase";

}  // namespace uniscale::schema
