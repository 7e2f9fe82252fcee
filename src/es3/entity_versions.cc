#include "es3/entity_versions.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "es3/bucket_logs.h"
#include "logstore/logstore.h"
#include "table/parquet.h"

namespace uniscale::es3 {

EntityVersions EntityVersions::load(const std::string& file, const std::string& id_column,
                                    const std::vector<std::string>& texts,
                                    const std::vector<schema::DeclaredColumn>& declared,
                                    const std::vector<std::string>& others) {
  EntityVersions entities;
  std::vector<std::string> wanted = {id_column, "ts_ms"};
  wanted.insert(wanted.end(), texts.begin(), texts.end());
  for (const schema::DeclaredColumn& column : declared) wanted.push_back(column.name);
  wanted.insert(wanted.end(), others.begin(), others.end());
  const table::ParquetReader reader(file);
  std::vector<int32_t> numbers;
  std::vector<Version> rows;
  for (int group = 0; group < reader.num_row_groups(); ++group) {
    entities.tables_.push_back(reader.read_row_group(group, wanted));
    const table::Table& loaded = entities.tables_.back();
    const table::Column& id = loaded.require(id_column, table::Type::String, file);
    require_no_nulls(id, id_column, file);
    const table::Column& valid_from = loaded.require("ts_ms", table::Type::Int64, file);
    const auto ts_ms = valid_from.int64s();
    for (const std::string& text : texts) {
      if (loaded.find(text) != nullptr) loaded.require(text, table::Type::String, file);
    }
    for (const schema::DeclaredColumn& column : declared) {
      require_type(loaded.find(column.name), column.name, column_type(column.type), file);
    }
    for (int64_t i = 0; i < loaded.num_rows(); ++i) {
      numbers.push_back(entities.ids_.insert(id.string(i)));
      rows.push_back({valid_from.is_valid(i) ? ts_ms[static_cast<size_t>(i)] : logstore::kEver,
                      {static_cast<int32_t>(entities.tables_.size() - 1), static_cast<int32_t>(i)}});
    }
  }
  const size_t num_ids = static_cast<size_t>(entities.ids_.size());
  entities.offsets_.assign(num_ids + 1, 0);
  for (const int32_t number : numbers) ++entities.offsets_[static_cast<size_t>(number) + 1];
  std::partial_sum(entities.offsets_.begin(), entities.offsets_.end(), entities.offsets_.begin());
  std::vector<size_t> next(entities.offsets_.begin(), entities.offsets_.end() - 1);
  entities.versions_.resize(rows.size());
  for (size_t i = 0; i < rows.size(); ++i)
    entities.versions_[next[static_cast<size_t>(numbers[i])]++] = rows[i];
  for (size_t id = 0; id < num_ids; ++id) {
    const auto first = entities.versions_.begin() + static_cast<std::ptrdiff_t>(entities.offsets_[id]);
    const auto last = entities.versions_.begin() + static_cast<std::ptrdiff_t>(entities.offsets_[id + 1]);
    std::sort(first, last, [](const Version& a, const Version& b) { return a.ts_ms < b.ts_ms; });
    for (auto it = first; it != last && it + 1 != last; ++it) {
      US_REQUIRE(it->ts_ms != (it + 1)->ts_ms,
                 fmt::format("{}: expected one version per {} and ts_ms, got \"{}\" twice at {}", file,
                             id_column, entities.ids_.id(static_cast<int32_t>(id)), it->ts_ms));
    }
  }
  return entities;
}

Ref EntityVersions::at_number(int32_t number, int64_t ts_ms) const {
  if (number < 0) return Ref::none();
  const auto first = versions_.begin() + static_cast<std::ptrdiff_t>(offsets_[static_cast<size_t>(number)]);
  const auto last =
      versions_.begin() + static_cast<std::ptrdiff_t>(offsets_[static_cast<size_t>(number) + 1]);
  auto it = std::upper_bound(first, last, ts_ms,
                             [](int64_t value, const Version& version) { return value < version.ts_ms; });
  return it == first ? Ref::none() : (it - 1)->ref;
}

std::vector<const table::Column*> EntityVersions::column(std::string_view name) const {
  std::vector<const table::Column*> columns;
  for (const table::Table& loaded : tables_) columns.push_back(loaded.find(name));
  return columns;
}

}  // namespace uniscale::es3
