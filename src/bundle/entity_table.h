// items.table and users.table: immutable key → raw feature values, memory-mapped and hash-indexed. The server
// looks up an id and gets the same raw values that the sample file held, so both go through feature/encode.h.
// Thread-safe once open. Hostile files: every offset is checked on open against the file's size; a checksum
// covers the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schema/log_schema.h"

namespace uniscale::bundle {

// One row's values, by column: String → text (data() null = missing), Double → number (NaN = missing), Int →
// integer.
struct EntityValue {
  std::string_view text;
  double number;
  int64_t integer = 0;
  bool is_null = true;
};

class EntityTableWriter {
 public:
  explicit EntityTableWriter(std::vector<schema::DeclaredColumn> columns);
  ~EntityTableWriter();
  // Throws UserError on a duplicate id.
  void add(std::string_view id, const std::vector<EntityValue>& values);
  // The same rows in any order give the same bytes.
  void write(const std::string& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class EntityTable {
 public:
  static EntityTable open(const std::string& path);
  const std::vector<schema::DeclaredColumn>& columns() const { return columns_; }
  int64_t num_rows() const { return num_rows_; }
  // −1 if unknown.
  int64_t find(std::string_view id) const;
  // The same for many at once, whose memory is fetched side by side: rows[i] of ids[i].
  void find_all(std::span<const std::string> ids, std::span<int64_t> rows) const;
  EntityValue value(int64_t row, int column) const;

 private:
  std::vector<schema::DeclaredColumn> columns_;
  int64_t num_rows_ = 0;
  std::shared_ptr<const void> mapping_;
  struct Layout;
  std::shared_ptr<const Layout> layout_;
};

}  // namespace uniscale::bundle
