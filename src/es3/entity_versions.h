// Versions of items or users (es3.md §0), looked up as of a time. Thread-safety: immutable once loaded.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "es3/detail/gather.h"
#include "es3/detail/id_index.h"
#include "schema/log_schema.h"
#include "table/table.h"

namespace uniscale::es3 {

class EntityVersions {
 public:
  EntityVersions() = default;
  // `id_column` "item_id" or "user_id"; `texts`: fixed text columns that may be absent;
  // `others`: columns of any type that may be absent. Throws UserError if a
  // (id, ts_ms) stands twice, or a declared column is missing or of another type.
  static EntityVersions load(const std::string& file, const std::string& id_column,
                             const std::vector<std::string>& texts,
                             const std::vector<schema::DeclaredColumn>& declared,
                             const std::vector<std::string>& others = {});

  // The version valid at `ts_ms`: the latest with ts_ms ≤ it. Ref::none() if there is none.
  Ref at(std::string_view id, int64_t ts_ms) const { return at_number(number_of(id), ts_ms); }
  // The same in two steps, for ids that are asked for again and again. −1: unknown.
  int32_t number_of(std::string_view id) const { return ids_.find(id); }
  Ref at_number(int32_t number, int64_t ts_ms) const;
  int64_t num_rows(int32_t table) const { return tables_[static_cast<size_t>(table)].num_rows(); }
  // The column `name` of every table that Refs count, null where a file lacks it.
  std::vector<const table::Column*> column(std::string_view name) const;

 private:
  struct Version {
    int64_t ts_ms;
    Ref ref;
  };
  std::deque<table::Table> tables_;
  IdIndex ids_;
  std::vector<size_t> offsets_;  // by id number, into versions_
  std::vector<Version> versions_;
};

}  // namespace uniscale::es3
