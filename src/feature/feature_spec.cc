#include "feature/feature_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/hash.h"

namespace uniscale::feature {
namespace {

// What a source is: its side and how its values are held. nullopt with `why` filled: not a feature.
struct Source {
  Side side = Side::Candidate;
  schema::ValueType type = schema::ValueType::String;
  bool jagged = false;  // a list a row: histories
  bool dense = false;   // a list of floats a row
};

const schema::DeclaredColumn* find_declared(const std::vector<schema::DeclaredColumn>& columns,
                                            std::string_view name) {
  for (const schema::DeclaredColumn& column : columns) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

// Names that leak the answer, or exist only because of how samples were drawn.
constexpr std::array<std::string_view, 10> kForbidden = {
    "position", "origin",     "click",         "cart",        "purchase",
    "label",    "click_prob", "purchase_prob", "query_score", "request_id"};

bool is_forbidden(std::string_view source) {
  const size_t dot = source.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? source : source.substr(dot + 1);
  if (std::find(kForbidden.begin(), kForbidden.end(), last) != kForbidden.end()) return true;
  for (std::string_view task : {"click_", "cart_", "purchase_"}) {
    if (last.starts_with(task)) {
      const std::string_view rest = last.substr(task.size());
      if (rest == "source" || rest == "domain" || rest == "delay_ms" || rest == "weight") return true;
    }
  }
  return source.starts_with("truth");
}

std::optional<Source> resolve_source(std::string_view source, const schema::LogSchema& schema,
                                     const std::vector<std::string>& sequences, std::string& why) {
  if (is_forbidden(source)) {
    why = "this is a label, a shown position or a sampling field, and may never be a feature";
    return std::nullopt;
  }
  if (source == "item_id") return Source{Side::Candidate};
  if (source == "item.embedding") return Source{Side::Candidate, schema::ValueType::Double, false, true};
  if (source == "item.title" || source == "item.category") return Source{Side::Candidate};
  if (source == "candidate.score") return Source{Side::Candidate, schema::ValueType::Double};
  if (source == "user_id" || source == "query" || source == "domain") return Source{Side::Request};
  if (source == "query_tier") return Source{Side::Request, schema::ValueType::Int};
  if (source == "query_history") return Source{Side::Request, schema::ValueType::String, true};
  const size_t dot = source.find('.');
  const std::string_view kind = source.substr(0, dot);
  const std::string_view name = dot == std::string_view::npos ? std::string_view() : source.substr(dot + 1);
  if (kind == "history") {
    const size_t inner = name.find('.');
    const std::string_view sequence = name.substr(0, inner);
    const std::string_view field =
        inner == std::string_view::npos ? std::string_view() : name.substr(inner + 1);
    if (std::find(sequences.begin(), sequences.end(), sequence) == sequences.end()) {
      why = fmt::format("no [[sequence]] is called \"{}\" (there are: {})", sequence,
                        fmt::join(sequences, ", "));
      return std::nullopt;
    }
    if (field == "item_id" || field == "action" || field == "domain")
      return Source{Side::Request, schema::ValueType::String, true};
    if (field == "age_bucket") return Source{Side::Request, schema::ValueType::Int, true};
    why = fmt::format("expected history.{}.item_id, action, domain or age_bucket", sequence);
    return std::nullopt;
  }
  const std::vector<schema::DeclaredColumn>* columns = nullptr;
  Side side = Side::Request;
  if (kind == "context") columns = &schema.context;
  if (kind == "user") columns = &schema.user;
  if (kind == "candidate") columns = &schema.candidate, side = Side::Candidate;
  if (kind == "item") columns = &schema.item, side = Side::Candidate;
  if (columns == nullptr) {
    why = "unknown source";
    return std::nullopt;
  }
  const schema::DeclaredColumn* column = find_declared(*columns, name);
  if (column == nullptr) {
    std::vector<std::string> names;
    for (const schema::DeclaredColumn& one : *columns) names.push_back(one.name);
    why = fmt::format("[schema].{} declares no column \"{}\" (it declares: {})", kind, name,
                      fmt::join(names, ", "));
    return std::nullopt;
  }
  return Source{side, column->type};
}

constexpr std::array<std::string_view, 5> kKindNames = {"categorical", "numeric", "text", "sequence",
                                                        "vector"};
constexpr std::array<std::string_view, 5> kTransforms = {"none", "log", "standardise", "log_standardise",
                                                         "bucketise"};

constexpr std::array<std::string_view, 3> kPoolings = {"mean", "self", "target"};

template <size_t N>
int index_of(const std::array<std::string_view, N>& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

Kind kind_of(std::string_view name) { return static_cast<Kind>(index_of(kKindNames, name)); }

// Exactly one id a candidate.
bool can_attend(const Feature& feature) {
  return feature.side == Side::Candidate && feature.has_ids && feature.kind != Kind::Text;
}

std::string kind_problem(Kind kind, const FeatureOptions& options, const Source& source) {
  const bool text = source.type == schema::ValueType::String;
  if (source.jagged != (kind == Kind::Sequence)) {
    return source.jagged ? "a history needs kind = \"sequence\""
                         : "only a history can have kind = \"sequence\"";
  }
  if (kind == Kind::Numeric && text) return "kind = \"numeric\" needs a column of type double or int";
  if (source.dense != (kind == Kind::Vector)) {
    return source.dense ? "an embedding needs kind = \"vector\""
                        : "only item.embedding can have kind = \"vector\"";
  }
  if (kind == Kind::Text && !text) return "kind = \"text\" needs a column of type string";
  if (kind == Kind::Categorical && source.type == schema::ValueType::Double) {
    return "a double cannot be categorical: use kind = \"numeric\" with transform = \"bucketise\"";
  }
  if (kind != Kind::Sequence && options.sequence_pooling != "mean")
    return "sequence_pooling needs kind = \"sequence\"";
  if ((options.sequence_pooling == "target") == options.target.empty())
    return "sequence_pooling = \"target\" and a target need each other";
  const bool bucketise = options.transform == "bucketise";
  if (kind != Kind::Numeric && options.transform != "none") return "a transform needs kind = \"numeric\"";
  if (bucketise && options.boundaries.empty()) return "transform = \"bucketise\" needs boundaries";
  if (!bucketise && !options.boundaries.empty()) return "boundaries need transform = \"bucketise\"";
  for (size_t i = 1; i < options.boundaries.size(); ++i) {
    if (!(options.boundaries[i - 1] < options.boundaries[i])) return "boundaries must rise";
  }
  if (kind == Kind::Text && options.ngrams.empty()) return "kind = \"text\" needs at least one n-gram length";
  return "";
}

}  // namespace

FeatureSpec::FeatureSpec(const std::vector<FeatureOptions>& features, const std::vector<TokenOptions>& tokens,
                         const schema::LogSchema& schema, const std::vector<std::string>& sequences,
                         std::vector<std::string> domains)
    : domains_(std::move(domains)) {
  std::vector<std::string> problems;
  const auto problem = [&](const std::string& where, const std::string& what) {
    problems.push_back(where + ": " + what);
  };
  US_REQUIRE(!domains_.empty(), "the model needs at least the search domain");
  if (std::set<std::string>(domains_.begin(), domains_.end()).size() != domains_.size())
    problem("domains", "a domain is named twice");
  if (features.empty()) problem("feature", "no [[feature]] is declared");
  if (tokens.empty()) problem("token", "no [[token]] is declared");

  std::map<std::string, int> table_index;
  for (const FeatureOptions& options : features) {
    const std::string where = fmt::format("feature \"{}\"", options.name);
    if (feature_index(options.name) >= 0) {
      problem(where, "this name is taken by another feature");
      continue;
    }
    std::string why;
    const auto source = resolve_source(options.source, schema, sequences, why);
    const Kind kind = kind_of(options.kind);
    if (!source) {
      problem(where, fmt::format("source \"{}\": {}", options.source, why));
      continue;
    }
    if (const std::string text = kind_problem(kind, options, *source); !text.empty()) {
      problem(where, text);
      continue;
    }
    Feature feature;
    feature.name = options.name;
    feature.kind = kind;
    feature.side = source->side;
    feature.source = options.source;
    feature.value_type = source->type;
    feature.transform = options.transform;
    feature.boundaries = options.boundaries;
    feature.max_length = options.max_length;
    feature.ngrams = options.ngrams;
    feature.pooling = static_cast<Pooling>(index_of(kPoolings, options.sequence_pooling));
    feature.has_ids = kind == Kind::Categorical || kind == Kind::Text || kind == Kind::Sequence ||
                      options.transform == "bucketise";
    if (feature.has_ids) {
      feature.slot = num_id_slots_++;
      feature.dim = options.dim;
      // A bucketised number has one row a bucket beside the missing one.
      const int64_t rows = options.transform == "bucketise"
                               ? static_cast<int64_t>(options.boundaries.size()) + 2
                               : options.buckets;
      const std::string table = options.table.empty() ? options.name : options.table;
      const auto [it, is_new] = table_index.emplace(table, static_cast<int>(tables_.size()));
      if (is_new) {
        tables_.push_back({table, rows, options.dim});
      } else {
        const TableSpec& have = tables_[static_cast<size_t>(it->second)];
        if (have.num_rows != rows || have.dim != options.dim) {
          problem(where, fmt::format("table \"{}\" is {} × {} for another feature, {} × {} here", table,
                                     have.num_rows, have.dim, rows, options.dim));
        }
      }
      feature.table = it->second;
    } else {
      feature.slot = num_float_slots_++;
      feature.dim = kind == Kind::Vector ? options.dim + 1 : 2;
    }
    features_.push_back(std::move(feature));
  }

  for (const FeatureOptions& options : features) {
    const int index = feature_index(options.name);
    if (options.target.empty() || index < 0) continue;
    const int target = feature_index(options.target);
    const bool fits = target >= 0 && can_attend(features_[static_cast<size_t>(target)]);
    if (fits) {
      features_[static_cast<size_t>(index)].target = target;
    } else {
      problem(
          fmt::format("feature \"{}\"", options.name),
          fmt::format("target: expected a categorical feature of the candidate, got \"{}\"", options.target));
    }
  }

  std::set<int> used;
  for (const TokenOptions& options : tokens) {
    const std::string where = fmt::format("token \"{}\"", options.name);
    if (std::any_of(tokens_.begin(), tokens_.end(), [&](const Token& t) { return t.name == options.name; })) {
      problem(where, "this name is taken by another token");
    }
    Token token;
    token.name = options.name;
    token.side = options.side == "request" ? Side::Request : Side::Candidate;
    if (options.features.empty()) problem(where, "it has no features");
    for (const std::string& name : options.features) {
      const int index = feature_index(name);
      if (index < 0) {
        // A feature that failed above was already reported.
        const bool declared = std::any_of(features.begin(), features.end(),
                                          [&](const FeatureOptions& f) { return f.name == name; });
        if (!declared) problem(where, fmt::format("no [[feature]] is called \"{}\"", name));
        continue;
      }
      const Feature& feature = features_[static_cast<size_t>(index)];
      if (!used.insert(index).second)
        problem(where, fmt::format("feature \"{}\" already belongs to a token", name));
      if (token.side == Side::Request && feature.value_side() == Side::Candidate) {
        problem(where, fmt::format("feature \"{}\" is of the candidate, the token of the request", name));
      }
      if (token.side == Side::Candidate && feature.value_side() == Side::Request) {
        problem(where, fmt::format("feature \"{}\" is of the request, the token of the candidate", name));
      }
      token.features.push_back(index);
    }
    tokens_.push_back(std::move(token));
  }
  for (size_t i = 0; i < features_.size(); ++i) {
    if (!used.contains(static_cast<int>(i)))
      problem(fmt::format("feature \"{}\"", features_[i].name), "it belongs to no token");
  }
  US_REQUIRE(problems.empty(), fmt::format("{}", fmt::join(problems, "\n")));
}

int FeatureSpec::domain_index(std::string_view domain) const {
  const auto it = std::find(domains_.begin(), domains_.end(), domain);
  return it == domains_.end() ? -1 : static_cast<int>(it - domains_.begin());
}

int FeatureSpec::feature_index(std::string_view name) const {
  for (size_t i = 0; i < features_.size(); ++i) {
    if (features_[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

int64_t FeatureSpec::token_input_dim(int t) const {
  int64_t dim = 0;
  for (int f : tokens_[static_cast<size_t>(t)].features) dim += features_[static_cast<size_t>(f)].dim;
  return dim;
}

void FeatureSpec::set_statistics(int feature, double mean, double stddev) {
  Feature& target = features_[static_cast<size_t>(feature)];
  target.mean = mean;
  // A constant feature stays 0 instead of growing without bound.
  target.inverse_stddev = stddev > 1e-12 ? 1.0 / stddev : 0.0;
}

json::Value FeatureSpec::to_json() const {
  json::Value value;
  value["format_version"] = 1;
  value["domains"] = domains_;
  json::Value tables = json::Value::array();
  for (const TableSpec& table : tables_)
    tables.push_back({{"name", table.name}, {"rows", table.num_rows}, {"dim", table.dim}});
  value["tables"] = std::move(tables);
  json::Value features = json::Value::array();
  for (const Feature& f : features_) {
    json::Value one;
    one["name"] = f.name;
    one["kind"] = std::string(kKindNames[static_cast<size_t>(f.kind)]);
    one["side"] = f.side == Side::Request ? "request" : "candidate";
    one["source"] = f.source;
    one["value_type"] = std::string(value_type_name(f.value_type));
    one["dim"] = f.dim;
    if (f.table >= 0) one["table"] = tables_[static_cast<size_t>(f.table)].name;
    if (f.kind == Kind::Numeric) {
      one["transform"] = f.transform;
      if (!f.boundaries.empty()) one["boundaries"] = f.boundaries;
      one["mean"] = f.mean;
      one["inverse_stddev"] = f.inverse_stddev;
    }
    if (f.kind == Kind::Text || f.kind == Kind::Sequence) one["max_length"] = f.max_length;
    if (f.kind == Kind::Text) one["ngrams"] = f.ngrams;
    // Left out where there is nothing to say: the specs of old bundles keep their fingerprint.
    if (f.pooling != Pooling::Mean)
      one["sequence_pooling"] = std::string(kPoolings[static_cast<size_t>(f.pooling)]);
    if (f.target >= 0) one["target"] = features_[static_cast<size_t>(f.target)].name;
    features.push_back(std::move(one));
  }
  value["features"] = std::move(features);
  json::Value tokens = json::Value::array();
  for (const Token& t : tokens_) {
    std::vector<std::string> names;
    for (int f : t.features) names.push_back(features_[static_cast<size_t>(f)].name);
    tokens.push_back(
        {{"name", t.name}, {"side", t.side == Side::Request ? "request" : "candidate"}, {"features", names}});
  }
  value["tokens"] = std::move(tokens);
  return value;
}

std::string FeatureSpec::fingerprint() const { return base::content_hash(json::dump(to_json(), -1)); }

namespace {

std::vector<std::string> strings_of(const json::Value& value, std::string_view key, std::string_view where) {
  std::vector<std::string> out;
  const json::Value& list = json::member(value, key, where);
  US_REQUIRE(list.is_array(), fmt::format("{}: {}: expected an array, got {}", where, key, list.type_name()));
  for (const json::Value& one : list) {
    US_REQUIRE(one.is_string(), fmt::format("{}: {}: expected strings, got {}", where, key, one.type_name()));
    out.push_back(one.get<std::string>());
  }
  return out;
}

const json::Value& array_of(const json::Value& value, std::string_view key, std::string_view where) {
  const json::Value& list = json::member(value, key, where);
  US_REQUIRE(list.is_array() && list.size() <= 100'000,
             fmt::format("{}: {}: expected an array of at most 100000", where, key));
  return list;
}

int64_t int_in(const json::Value& value, std::string_view key, int64_t low, int64_t high,
               std::string_view where) {
  const int64_t number = json::int_member(value, key, where);
  US_REQUIRE(number >= low && number <= high,
             fmt::format("{}: {}: expected {} … {}, got {}", where, key, low, high, number));
  return number;
}

std::string choice(const json::Value& value, std::string_view key,
                   std::initializer_list<std::string_view> choices, std::string_view where) {
  const std::string text = json::string_member(value, key, where);
  US_REQUIRE(
      std::find(choices.begin(), choices.end(), text) != choices.end(),
      fmt::format("{}: {}: expected one of {}, got \"{}\"", where, key, fmt::join(choices, ", "), text));
  return text;
}

}  // namespace

FeatureSpec FeatureSpec::from_json(const json::Value& value, std::string_view where) {
  FeatureSpec spec;
  int_in(value, "format_version", 1, 1, where);
  spec.domains_ = strings_of(value, "domains", where);
  US_REQUIRE(!spec.domains_.empty(), fmt::format("{}: domains: expected at least one", where));
  std::map<std::string, int> table_index;
  for (const json::Value& one : array_of(value, "tables", where)) {
    TableSpec table;
    table.name = json::string_member(one, "name", where);
    table.num_rows = int_in(one, "rows", 2, std::numeric_limits<int32_t>::max() - 1, where);
    table.dim = int_in(one, "dim", 1, 4096, where);
    US_REQUIRE(table_index.emplace(table.name, static_cast<int>(spec.tables_.size())).second,
               fmt::format("{}: tables: \"{}\" stands twice", where, table.name));
    spec.tables_.push_back(std::move(table));
  }
  for (const json::Value& one : array_of(value, "features", where)) {
    Feature f;
    f.name = json::string_member(one, "name", where);
    const std::string at = fmt::format("{}: feature \"{}\"", where, f.name);
    US_REQUIRE(spec.feature_index(f.name) < 0, at + ": stands twice");
    f.kind = kind_of(choice(one, "kind", {"categorical", "numeric", "text", "sequence", "vector"}, at));
    f.side = choice(one, "side", {"request", "candidate"}, at) == "request" ? Side::Request : Side::Candidate;
    f.source = json::string_member(one, "source", at);
    const std::string type = choice(one, "value_type", {"string", "double", "int"}, at);
    f.value_type = type == "string"   ? schema::ValueType::String
                   : type == "double" ? schema::ValueType::Double
                                      : schema::ValueType::Int;
    f.dim = int_in(one, "dim", 1, 4096, at);
    f.transform = "none";
    if (f.kind == Kind::Numeric) {
      f.transform =
          choice(one, "transform",
                 {kTransforms[0], kTransforms[1], kTransforms[2], kTransforms[3], kTransforms[4]}, at);
      if (one.contains("boundaries")) {
        for (const json::Value& boundary : array_of(one, "boundaries", at)) {
          US_REQUIRE(boundary.is_number(), at + ": boundaries: expected numbers");
          f.boundaries.push_back(boundary.get<double>());
        }
        US_REQUIRE(std::is_sorted(f.boundaries.begin(), f.boundaries.end()), at + ": boundaries: must rise");
      }
      f.mean = json::double_member(one, "mean", at);
      f.inverse_stddev = json::double_member(one, "inverse_stddev", at);
    }
    if (f.kind == Kind::Text || f.kind == Kind::Sequence)
      f.max_length = int_in(one, "max_length", 1, 10'000, at);
    if (f.kind == Kind::Text) {
      for (const json::Value& n : array_of(one, "ngrams", at)) {
        US_REQUIRE(n.is_number_integer() && n.get<int64_t>() >= 0 && n.get<int64_t>() <= 8,
                   at + ": ngrams: expected 0 … 8");
        f.ngrams.push_back(n.get<int64_t>());
      }
    }
    if (f.kind == Kind::Sequence && one.contains("sequence_pooling")) {
      f.pooling = static_cast<Pooling>(index_of(
          kPoolings, choice(one, "sequence_pooling", {kPoolings[0], kPoolings[1], kPoolings[2]}, at)));
    }
    f.has_ids = f.kind == Kind::Categorical || f.kind == Kind::Text || f.kind == Kind::Sequence ||
                f.transform == "bucketise";
    if (f.has_ids) {
      const std::string table = json::string_member(one, "table", at);
      const auto it = table_index.find(table);
      US_REQUIRE(it != table_index.end(), fmt::format("{}: table: there is no \"{}\"", at, table));
      f.table = it->second;
      const TableSpec& spec_table = spec.tables_[static_cast<size_t>(f.table)];
      US_REQUIRE(spec_table.dim == f.dim, at + ": dim: differs from its table's");
      US_REQUIRE(
          f.transform != "bucketise" || spec_table.num_rows >= static_cast<int64_t>(f.boundaries.size()) + 2,
          at + ": boundaries: more than its table has rows");
      f.slot = spec.num_id_slots_++;
    } else {
      US_REQUIRE(f.kind == Kind::Vector || f.dim == 2, at + ": dim: expected 2 for a number");
      US_REQUIRE(f.kind != Kind::Vector || f.dim >= 2, at + ": dim: expected at least 2 for a vector");
      f.slot = spec.num_float_slots_++;
    }
    spec.features_.push_back(std::move(f));
  }
  for (const json::Value& one : array_of(value, "features", where)) {
    Feature& f =
        spec.features_[static_cast<size_t>(spec.feature_index(json::string_member(one, "name", where)))];
    if (f.pooling != Pooling::Target) continue;
    const std::string at = fmt::format("{}: feature \"{}\"", where, f.name);
    f.target = spec.feature_index(json::string_member(one, "target", at));
    US_REQUIRE(f.target >= 0 && can_attend(spec.features_[static_cast<size_t>(f.target)]),
               at + ": target: expected a categorical feature of the candidate");
  }
  std::set<int> used;
  for (const json::Value& one : array_of(value, "tokens", where)) {
    Token token;
    token.name = json::string_member(one, "name", where);
    token.side =
        choice(one, "side", {"request", "candidate"}, where) == "request" ? Side::Request : Side::Candidate;
    for (const std::string& name : strings_of(one, "features", where)) {
      const int index = spec.feature_index(name);
      US_REQUIRE(index >= 0,
                 fmt::format("{}: token \"{}\": there is no feature \"{}\"", where, token.name, name));
      US_REQUIRE(used.insert(index).second,
                 fmt::format("{}: feature \"{}\" stands in two tokens", where, name));
      US_REQUIRE(
          spec.features_[static_cast<size_t>(index)].value_side() == token.side,
          fmt::format("{}: token \"{}\": feature \"{}\" is of the other side", where, token.name, name));
      token.features.push_back(index);
    }
    US_REQUIRE(!token.features.empty(), fmt::format("{}: token \"{}\": no features", where, token.name));
    spec.tokens_.push_back(std::move(token));
  }
  US_REQUIRE(!spec.tokens_.empty(), fmt::format("{}: tokens: expected at least one", where));
  return spec;
}

}  // namespace uniscale::feature
