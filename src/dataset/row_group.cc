#include "dataset/detail/row_group.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "feature/encode.h"
#include "schema/sample.h"

namespace uniscale::dataset {
namespace {

using feature::Feature;
using feature::RawColumn;
using feature::RequestBatch;
using feature::Side;
using table::Column;
using table::Type;

// The dotted path in the sample file that holds a feature's values (schema/sample.h).
std::string path_of(const Feature& feature) {
  const std::string& source = feature.source;
  if (source == "item_id") return "items.item_id";
  if (source == "query_history") return "query_history.query";
  if (source.starts_with("item.") || source.starts_with("candidate.")) return "items." + source;
  if (source.starts_with("history.")) return std::string(schema::kHistoryPrefix) + source.substr(8);
  return source;  // user_id, query, domain, query_tier, context.<c>, user.<c>
}

const std::vector<std::string> kFixedColumns = {"request_id",
                                                "domain",
                                                "user_id",
                                                "ts_ms",
                                                "items.origin",
                                                "items.position",
                                                "items.click",
                                                "items.cart",
                                                "items.purchase",
                                                "items.click_source",
                                                "items.cart_source",
                                                "items.purchase_source",
                                                "items.click_weight",
                                                "items.cart_weight",
                                                "items.purchase_weight"};

// Walks "items.item.price" through structs and the list of structs; null if a name is missing.
const Column* find_path(const table::Table& table, const std::string& path) {
  size_t dot = path.find('.');
  const Column* column = table.find(path.substr(0, dot));
  while (column != nullptr && dot != std::string::npos) {
    const size_t begin = dot + 1;
    dot = path.find('.', begin);
    if (column->type() == Type::List) column = &column->child(0);
    column = column->find_child(path.substr(begin, dot == std::string::npos ? dot : dot - begin));
  }
  return column;
}

const Column& require_path(const table::Table& table, const std::string& path, const std::string& file) {
  const Column* column = find_path(table, path);
  US_REQUIRE(column != nullptr,
             fmt::format("{}: column {}: missing; the samples were built without it", file, path));
  return *column;
}

// Scratch that a RawColumn's spans point into.
struct RawValues {
  std::vector<std::string_view> strings;
  std::vector<double> doubles;
  std::vector<int64_t> ints;
  std::vector<uint8_t> ints_valid;
};

template <class Span>
void copy_doubles(const Column& column, const Span& values, std::vector<double>& out) {
  out.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    out[i] = column.is_valid(static_cast<int64_t>(i)) ? static_cast<double>(values[i])
                                                      : std::numeric_limits<double>::quiet_NaN();
  }
}

template <class Span>
void copy_ints(const Column& column, const Span& values, RawValues& out) {
  out.ints.assign(values.begin(), values.end());
  if (!column.has_nulls()) return;
  out.ints_valid.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    out.ints_valid[i] = column.is_valid(static_cast<int64_t>(i)) ? 1 : 0;
}

RawColumn raw_column(const Column& column, const Feature& feature, const std::string& where,
                     RawValues& scratch) {
  RawColumn raw;
  raw.num_rows = column.length();
  const auto wrong = [&] {
    throw base::UserError(fmt::format(
        "{}: expected {}, got {}", where, value_type_name(feature.value_type),
        column.source_type().empty() ? std::string(type_name(column.type())) : column.source_type()));
  };
  if (column.type() == Type::String) {
    if (feature.value_type != schema::ValueType::String) wrong();
    scratch.strings.resize(static_cast<size_t>(column.length()));
    for (int64_t i = 0; i < column.length(); ++i) scratch.strings[static_cast<size_t>(i)] = column.string(i);
    raw.strings = scratch.strings;
    return raw;
  }
  if (feature.value_type == schema::ValueType::String) wrong();
  const bool is_int = feature.value_type == schema::ValueType::Int;
  switch (column.type()) {
    case Type::Double:
      if (is_int) wrong();
      if (!column.has_nulls()) {
        raw.doubles = column.doubles();
        return raw;
      }
      copy_doubles(column, column.doubles(), scratch.doubles);
      break;
    case Type::Float:
      if (is_int) wrong();
      copy_doubles(column, column.floats(), scratch.doubles);
      break;
    case Type::Int64:
      is_int ? copy_ints(column, column.int64s(), scratch)
             : copy_doubles(column, column.int64s(), scratch.doubles);
      break;
    case Type::Int32:
      is_int ? copy_ints(column, column.int32s(), scratch)
             : copy_doubles(column, column.int32s(), scratch.doubles);
      break;
    case Type::Int8:
      is_int ? copy_ints(column, column.int8s(), scratch)
             : copy_doubles(column, column.int8s(), scratch.doubles);
      break;
    default:
      wrong();
  }
  raw.doubles = scratch.doubles;
  raw.ints = scratch.ints;
  raw.ints_valid = scratch.ints_valid;
  return raw;
}

// A list column must span its child exactly, so that child rows are candidates (or history entries) by
// number.
void require_whole_list(const Column& list, const std::string& where) {
  const int64_t n = list.length();
  US_REQUIRE(list.type() == Type::List,
             fmt::format("{}: expected a list, got {}", where, type_name(list.type())));
  US_REQUIRE(list.list_begin(0) == 0 && (n == 0 || list.list_end(n - 1) == list.child(0).length()),
             where + ": list values that belong to no row");
}

// A vector of another length is a mistake of the configuration, not a missing one; empty and null are
// missing.
void require_vectors(const Column& list, int64_t length, const std::string& feature,
                     const std::string& where) {
  US_REQUIRE(list.type() == Type::List,
             fmt::format("{}: expected a list of numbers, got {}", where, list.source_type()));
  for (int64_t i = 0; i < list.length(); ++i) {
    const int64_t got = list.list_end(i) - list.list_begin(i);
    US_REQUIRE(got == 0 || got == length,
               fmt::format("{}: row {}: feature \"{}\": expected vectors of dim = {} values, got {}", where,
                           i, feature, length, got));
  }
}

void encode_feature(const table::Table& table, const Feature& feature, const feature::FeatureSpec& spec,
                    const std::string& file, RequestBatch& batch) {
  const std::string path = path_of(feature);
  const Column& column = require_path(table, path, file);
  RawValues scratch;
  if (feature.kind == feature::Kind::Vector) {
    require_vectors(column, feature.dim - 1, feature.name, fmt::format("{}: column {}", file, path));
    RawColumn raw = raw_column(column.child(0), feature, fmt::format("{}: column {}", file, path), scratch);
    raw.num_rows = column.length();
    raw.offsets = column.offsets();
    encode(feature, nullptr, raw, batch);
    return;
  }
  RawColumn raw = raw_column(column, feature, fmt::format("{}: column {}", file, path), scratch);
  if (feature.kind == feature::Kind::Sequence) {
    const Column& list = *table.find(path.substr(0, path.find('.')));
    require_whole_list(list, fmt::format("{}: column {}", file, path));
    raw.offsets = list.offsets();
    raw.num_rows = list.length();
  }
  encode(feature, feature.table >= 0 ? &spec.tables()[static_cast<size_t>(feature.table)] : nullptr, raw,
         batch);
}

std::span<const uint8_t> bool_column(const table::Table& table, const std::string& path,
                                     const std::string& file) {
  const Column& column = require_path(table, path, file);
  US_REQUIRE(column.type() == Type::Bool,
             fmt::format("{}: column {}: expected bool, got {}", file, path, column.source_type()));
  return column.bools();
}

std::span<const int8_t> int8_column(const table::Table& table, const std::string& path,
                                    const std::string& file) {
  const Column& column = require_path(table, path, file);
  US_REQUIRE(column.type() == Type::Int8,
             fmt::format("{}: column {}: expected int8, got {}", file, path, column.source_type()));
  return column.int8s();
}

void read_labels(const table::Table& table, const Filters& filters, const std::string& file,
                 RequestBatch& batch) {
  for (int t = 0; t < schema::kNumTasks; ++t) {
    const std::string task = "items." + std::string(schema::kTaskNames[static_cast<size_t>(t)]);
    const auto labels = bool_column(table, task, file);
    const auto sources = int8_column(table, task + "_source", file);
    const Column& weights = require_path(table, task + "_weight", file);
    US_REQUIRE(weights.type() == Type::Float, fmt::format("{}: column {}_weight: expected float, got {}",
                                                          file, task, weights.source_type()));
    feature::TaskLabels& out = batch.tasks[t];
    for (size_t i = 0; i < labels.size(); ++i) {
      const auto source = static_cast<size_t>(sources[i]);
      US_REQUIRE(source < schema::kLabelSourceNames.size(),
                 fmt::format("{}: column {}_source: unknown value {}", file, task, sources[i]));
      const bool positive = labels[i] != 0 && filters.label_source[source];
      out.label.push_back(positive ? 1 : 0);
      out.source.push_back(positive ? static_cast<schema::LabelSource>(source) : schema::LabelSource::None);
      out.weight.push_back(positive && weights.is_valid(static_cast<int64_t>(i)) ? weights.floats()[i]
                                                                                 : 1.0F);
    }
  }
}

// Sorted by origin, so the kept candidates of a request are one to three ranges.
void add_ranges(std::span<const int8_t> origins, int64_t begin, int64_t end, const Filters& filters,
                RowGroup& group) {
  for (int64_t i = begin; i < end;) {
    int64_t j = i + 1;
    while (j < end && origins[static_cast<size_t>(j)] == origins[static_cast<size_t>(i)]) ++j;
    if (filters.origin[static_cast<size_t>(origins[static_cast<size_t>(i)])]) {
      group.ranges.push_back({static_cast<int32_t>(i), static_cast<int32_t>(j)});
    }
    i = j;
  }
}

void require_origins(std::span<const int8_t> origins, const std::string& file) {
  for (int8_t origin : origins) {
    US_REQUIRE(origin >= 0 && static_cast<size_t>(origin) < schema::kOriginNames.size(),
               fmt::format("{}: column items.origin: unknown value {}", file, origin));
  }
}

template <class T>
void append_range(const std::vector<T>& from, int64_t begin, int64_t end, int64_t width, std::vector<T>& to) {
  to.insert(to.end(), from.begin() + begin * width, from.begin() + end * width);
}

void append_ids(const feature::IdColumn& from, int64_t begin, int64_t end, feature::IdColumn& to) {
  if (from.offsets.empty()) {
    append_range(from.ids, begin, end, 1, to.ids);
    return;
  }
  if (to.offsets.empty()) to.offsets.push_back(0);
  const int32_t first = from.offsets[static_cast<size_t>(begin)];
  const auto shift = static_cast<int32_t>(to.ids.size()) - first;
  append_range(from.ids, first, from.offsets[static_cast<size_t>(end)], 1, to.ids);
  for (int64_t i = begin; i < end; ++i)
    to.offsets.push_back(from.offsets[static_cast<size_t>(i) + 1] + shift);
}

}  // namespace

Filters::Filters(const Options& options) : domains(options.domains), item_keys(options.item_keys) {
  for (size_t i = 0; i < 4; ++i) {
    origin[i] = options.origins.empty() || std::find(options.origins.begin(), options.origins.end(),
                                                     schema::kOriginNames[i]) != options.origins.end();
  }
  for (size_t i = 0; i < 6; ++i) {
    label_source[i] = options.label_sources.empty() ||
                      std::find(options.label_sources.begin(), options.label_sources.end(),
                                schema::kLabelSourceNames[i]) != options.label_sources.end();
  }
}

bool Filters::keeps_domain(std::string_view domain) const {
  return domains.empty() || std::find(domains.begin(), domains.end(), domain) != domains.end();
}

int32_t RowGroup::num_kept(int64_t row) const {
  int32_t kept = 0;
  for (int32_t i = range_offsets[static_cast<size_t>(row)]; i < range_offsets[static_cast<size_t>(row) + 1];
       ++i) {
    kept += ranges[static_cast<size_t>(i)].end - ranges[static_cast<size_t>(i)].begin;
  }
  return kept;
}

RowGroup read_row_group(const table::ParquetReader& reader, const std::string& path, int row_group,
                        const feature::FeatureSpec& spec, const Filters& filters) {
  std::set<std::string> columns(kFixedColumns.begin(), kFixedColumns.end());
  for (const Feature& feature : spec.features()) columns.insert(path_of(feature));
  if (filters.item_keys) columns.insert("items.item_id");
  const table::Table table = reader.read_row_group(row_group, {columns.begin(), columns.end()});
  RowGroup group;
  RequestBatch& batch = group.batch;
  clear_batch(spec, batch);
  const Column& request_id = table.require("request_id", Type::String, path);
  const Column& domain = table.require("domain", Type::String, path);
  const Column& user_id = table.require("user_id", Type::String, path);
  const Column& items = table.require("items", Type::List, path);
  require_whole_list(items, path + ": column items");
  const auto ts_ms = table.require("ts_ms", Type::Int64, path).int64s();
  const int64_t n = table.num_rows();
  batch.num_requests = static_cast<int32_t>(n);
  batch.candidate_offsets.assign(items.offsets().begin(), items.offsets().end());
  batch.ts_ms.assign(ts_ms.begin(), ts_ms.end());
  batch.request_weight.assign(static_cast<size_t>(n), 1.0F);
  const auto origins = int8_column(table, "items.origin", path);
  require_origins(origins, path);
  for (int8_t origin : origins) batch.origin.push_back(static_cast<schema::Origin>(origin));
  const Column& position = require_path(table, "items.position", path);
  US_REQUIRE(position.type() == Type::Int32, path + ": column items.position: expected int32");
  for (int64_t i = 0; i < position.length(); ++i) {
    batch.position.push_back(position.is_valid(i) ? position.int32s()[static_cast<size_t>(i)] : -1);
  }
  for (int64_t r = 0; r < n; ++r) {
    const size_t first_range = group.ranges.size();
    if (filters.keeps_domain(domain.string(r)))
      add_ranges(origins, items.list_begin(r), items.list_end(r), filters, group);
    const bool kept = group.ranges.size() > first_range;
    const int index = spec.domain_index(domain.string(r));
    US_REQUIRE(!kept || index >= 0,
               fmt::format("{}: row {}: domain \"{}\" is not one of the model's ({}); leave it out with "
                           "dataset.domains or dataset.origins",
                           path, r, domain.string(r), fmt::join(spec.domains(), ", ")));
    batch.domain.push_back(std::max(index, 0));
    group.request_id.emplace_back(request_id.string(r));
    const uint64_t request_key = base::stable_hash(0, request_id.string(r));
    batch.request_key.push_back(request_key);
    // An unknown user is a group of its own.
    batch.user_key.push_back(user_id.is_valid(r) ? base::stable_hash(0, user_id.string(r)) : request_key);
    group.range_offsets.push_back(static_cast<int32_t>(group.ranges.size()));
  }
  if (filters.item_keys) {
    const Column& item_id = require_path(table, "items.item_id", path);
    US_REQUIRE(item_id.type() == Type::String, path + ": column items.item_id: expected string");
    for (int64_t i = 0; i < item_id.length(); ++i)
      batch.item_key.push_back(base::stable_hash(0, item_id.string(i)));
  }
  read_labels(table, filters, path, batch);
  for (const Feature& feature : spec.features()) encode_feature(table, feature, spec, path, batch);
  return group;
}

int64_t count_kept(const table::ParquetReader& reader, const std::string& path, int row_group,
                   const Filters& filters) {
  const table::Table table = reader.read_row_group(row_group, {"domain", "items.origin"});
  const Column& domain = table.require("domain", Type::String, path);
  const Column& items = table.require("items", Type::List, path);
  require_whole_list(items, path + ": column items");
  const auto origins = int8_column(table, "items.origin", path);
  require_origins(origins, path);
  int64_t kept = 0;
  for (int64_t r = 0; r < table.num_rows(); ++r) {
    if (!filters.keeps_domain(domain.string(r))) continue;
    for (int64_t i = items.list_begin(r); i < items.list_end(r); ++i) {
      if (filters.origin[static_cast<size_t>(origins[static_cast<size_t>(i)])]) {
        ++kept;
        break;
      }
    }
  }
  return kept;
}

void clear_batch(const feature::FeatureSpec& spec, RequestBatch& out) {
  out.num_requests = 0;
  out.candidate_offsets.assign(1, 0);
  out.ids.resize(static_cast<size_t>(spec.num_id_slots()));
  out.floats.resize(static_cast<size_t>(spec.num_float_slots()));
  for (auto& column : out.ids) {
    column.ids.clear();
    column.offsets.clear();
  }
  for (const Feature& feature : spec.features()) {
    if (!feature.has_ids) out.floats[static_cast<size_t>(feature.slot)].width = static_cast<int>(feature.dim);
  }
  for (auto& column : out.floats) column.values.clear();
  out.domain.clear();
  for (auto& task : out.tasks) {
    task.label.clear();
    task.weight.clear();
    task.source.clear();
  }
  out.origin.clear();
  out.position.clear();
  out.item_key.clear();
  out.request_weight.clear();
  out.user_key.clear();
  out.request_key.clear();
  out.ts_ms.clear();
}

void append_request(const RowGroup& group, int64_t row, const feature::FeatureSpec& spec, RequestBatch& out) {
  const RequestBatch& in = group.batch;
  const auto r = static_cast<size_t>(row);
  const auto first = group.ranges.begin() + group.range_offsets[r],
             last = group.ranges.begin() + group.range_offsets[r + 1];
  ++out.num_requests;
  out.candidate_offsets.push_back(out.candidate_offsets.back() + group.num_kept(row));
  out.domain.push_back(in.domain[r]);
  out.request_weight.push_back(in.request_weight[r]);
  out.user_key.push_back(in.user_key[r]);
  out.request_key.push_back(in.request_key[r]);
  out.ts_ms.push_back(in.ts_ms[r]);
  for (auto range = first; range != last; ++range) {
    append_range(in.origin, range->begin, range->end, 1, out.origin);
    append_range(in.position, range->begin, range->end, 1, out.position);
    if (!in.item_key.empty()) append_range(in.item_key, range->begin, range->end, 1, out.item_key);
    for (size_t t = 0; t < schema::kNumTasks; ++t) {
      append_range(in.tasks[t].label, range->begin, range->end, 1, out.tasks[t].label);
      append_range(in.tasks[t].weight, range->begin, range->end, 1, out.tasks[t].weight);
      append_range(in.tasks[t].source, range->begin, range->end, 1, out.tasks[t].source);
    }
  }
  for (const Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    const auto copy = [&](int64_t begin, int64_t end) {
      if (feature.has_ids) {
        append_ids(in.ids[slot], begin, end, out.ids[slot]);
      } else {
        append_range(in.floats[slot].values, begin, end, in.floats[slot].width, out.floats[slot].values);
      }
    };
    if (feature.side == Side::Request) {
      copy(row, row + 1);
    } else {
      for (auto range = first; range != last; ++range) copy(range->begin, range->end);
    }
  }
}

}  // namespace uniscale::dataset
