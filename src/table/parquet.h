// Parquet files as tables. Types are normalised on reading: all integers → Int64 (Int8 and Int32 stay),
// a batch of uint64 or whole decimals (scale 0) that holds more than 64 signed bits → String of digits,
// half/float → Float, other decimals → Double, timestamps and dates of any unit → Int64 milliseconds UTC
// (naive ones read as UTC), dictionary / large / view strings and binary → String, large and fixed-size lists
// → List. Thread-safety: one reader may serve `read_row_group` from many threads; a writer belongs to one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "table/table.h"

namespace uniscale::table {

class ParquetReader {
 public:
  // Throws UserError (missing, truncated, not Parquet), naming the file. `coded`: dotted leaf paths of
  // strings that stay coded by a dictionary in `read_row_group` (Column::codes), so that each different one
  // is decoded once.
  explicit ParquetReader(const std::string& path, std::vector<std::string> coded = {});
  ~ParquetReader();
  ParquetReader(ParquetReader&&) noexcept;
  ParquetReader& operator=(ParquetReader&&) noexcept;

  int64_t num_rows() const;
  int num_row_groups() const;
  int64_t row_group_rows(int row_group) const;
  // Top-level column names in file order.
  const std::vector<std::string>& column_names() const;
  const std::map<std::string, std::string>& metadata() const;

  // `columns`: top-level names, or dotted paths into structs and lists of structs ("items.item_id"); empty =
  // all. Names that the file lacks are left out of the result. Throws UserError on corrupt pages.
  Table read_row_group(int row_group, const std::vector<std::string>& columns = {}) const;
  // Streams the file in batches of at most `batch_rows` rows: memory stays bounded for any row-group size.
  void for_each_batch(int64_t batch_rows, const std::vector<std::string>& columns,
                      const std::function<void(const Table&)>& visit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ParquetWriteOptions {
  std::string codec = "zstd";  // zstd, snappy, none
  int compression_level = 1;
  std::map<std::string, std::string> metadata;  // stored in the footer, in key order
  std::vector<std::string> plain_columns;       // dotted leaf paths without dictionary (unique ids)
  // Top-level columns with minima and maxima, for readers that skip row groups; empty: every column.
  std::vector<std::string> statistics_columns;
};

// Writes `path` directly (not atomically: see publication.h). Each `write` makes one row group. The same
// tables and options give the same bytes. The schema is that of the first table; a file without rows needs
// `write` of an empty table.
class ParquetWriter {
 public:
  ParquetWriter(std::string path, ParquetWriteOptions options);
  ~ParquetWriter();
  ParquetWriter(ParquetWriter&&) noexcept;
  ParquetWriter& operator=(ParquetWriter&&) noexcept;

  // Throws UserError if the schema differs from the first table's, IoError if the disk fails.
  void write(const Table& table);
  // Finishes the footer and syncs. Without a call the file is left broken on purpose: nobody publishes it.
  void close();
  int64_t num_rows() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uniscale::table
