#include "schema/log_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/hash.h"

namespace uniscale::schema {
namespace {

const std::vector<std::string> kTypes = {"string", "double", "int"};

// Names that the samples' structs already use.
constexpr std::array<std::string_view, 8> kFixedNames = {"item_id",  "user_id",  "ts_ms", "title",
                                                         "category", "position", "score", "embedding"};

bool is_column_name(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

ValueType parse_type(std::string_view name) {
  if (name == "double") return ValueType::Double;
  if (name == "int") return ValueType::Int;
  return ValueType::String;
}

std::vector<DeclaredColumn> declared(const config::StringMap& columns, std::string_view kind) {
  std::vector<DeclaredColumn> out;
  for (const auto& [name, type] : columns) {
    US_REQUIRE(
        is_column_name(name),
        fmt::format("schema.{}: expected column names like \"unit_price\" ([a-z][a-z0-9_]*), got \"{}\"",
                    kind, name));
    US_REQUIRE(std::find(kFixedNames.begin(), kFixedNames.end(), name) == kFixedNames.end(),
               fmt::format("schema.{}.{}: this name belongs to a fixed column", kind, name));
    out.push_back({name, parse_type(type)});
  }
  return out;  // a std::map is already sorted by name
}

}  // namespace

std::string_view value_type_name(ValueType type) {
  switch (type) {
    case ValueType::String:
      return "string";
    case ValueType::Double:
      return "double";
    case ValueType::Int:
      return "int";
  }
  US_UNREACHABLE();
}

const config::Section<SchemaOptions>& schema_section() {
  static const config::Rule types{.choices = kTypes, .source = "es3.md §0"};
  static const auto section =
      config::Section<SchemaOptions>("schema", "What the log store holds")
          .field("search_domain", &SchemaOptions::search_domain,
                 "the domain whose requests are ranked; all others are cross domains",
                 {.source = "es3.md §0"})
          .field("num_buckets", &SchemaOptions::num_buckets,
                 "user buckets of a day: the unit of parallel work and of memory",
                 {.min = 1, .max = 999, .source = "es3.md §0"})
          .field("hash_seed", &SchemaOptions::hash_seed, "seed of every stable hash", {.min = 0})
          .field("context", &SchemaOptions::context,
                 "feature columns of a request: name = \"string\" | \"double\" | \"int\"", types)
          .field("candidate", &SchemaOptions::candidate, "feature columns of a candidate in its request",
                 types)
          .field("item", &SchemaOptions::item, "feature columns of an item", types)
          .field("user", &SchemaOptions::user, "feature columns of a user", types);
  return section;
}

const config::ArraySection<SequenceOptions>& sequence_section() {
  static const auto section = config::ArraySection<SequenceOptions>("sequence", "History sequences of a user")
                                  .field("name", &SequenceOptions::name,
                                         "name; the sample column is history_<name>", {.required = true})
                                  .field("actions", &SequenceOptions::actions,
                                         "actions that enter the sequence", {.source = "es3.md §5"})
                                  .field("domains", &SequenceOptions::domains,
                                         "domains that enter it; empty: all", {.source = "es3.md §5"});
  return section;
}

LogSchema make_log_schema(const SchemaOptions& options) {
  LogSchema schema;
  schema.search_domain = options.search_domain;
  schema.num_buckets = static_cast<int>(options.num_buckets);
  schema.hash_seed = static_cast<uint64_t>(options.hash_seed);
  schema.context = declared(options.context, "context");
  schema.candidate = declared(options.candidate, "candidate");
  schema.item = declared(options.item, "item");
  schema.user = declared(options.user, "user");
  return schema;
}

std::string LogSchema::fingerprint() const {
  std::string text = fmt::format("{}\n{}\n{}\n", search_domain, num_buckets, hash_seed);
  for (const auto* columns : {&context, &candidate, &item, &user}) {
    for (const DeclaredColumn& column : *columns)
      text += fmt::format("{}:{} ", column.name, value_type_name(column.type));
    text += "\n";
  }
  return base::content_hash(text);
}

}  // namespace uniscale::schema
