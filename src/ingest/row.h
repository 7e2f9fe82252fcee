// One raw row as a reader found it, before validation: cells in the order of a Layout.
// Texts live until the visit that got the row returns.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/options.h"
#include "schema/log_schema.h"

namespace uniscale::ingest {

struct Cell {
  enum class Kind : uint8_t { Null, Text, Int, Double, Bool, Time, Other };  // Time: epoch milliseconds
  Kind kind = Kind::Null;
  std::string_view text;
  int64_t integer = 0;    // Int, Bool, Time
  double number = 0;      // Double
  bool is_naive = false;  // Time: the file names no zone

  static Cell of_text(std::string_view text) { return {.kind = Kind::Text, .text = text}; }
  static Cell of_int(int64_t value) { return {.kind = Kind::Int, .text = {}, .integer = value}; }
  static Cell of_double(double value) { return {.kind = Kind::Double, .text = {}, .number = value}; }
  bool is_null() const { return kind == Kind::Null; }
};

enum class TableKind : uint8_t { Requests, Candidates, Events, Items, Users };

// Columns of a row and where a file holds them.
struct Field {
  std::string name;
  std::vector<std::string> theirs;  // names to try, in order; dots lead into structs
  bool is_renamed = false;          // named by the configuration: a file without it is an error
  bool is_required = false;
};

struct Layout {
  TableKind table = TableKind::Requests;
  std::vector<Field> fields;  // fixed columns in the order of docs/ingest.md, then declared ones
  std::vector<schema::DeclaredColumn> declared;
  std::vector<Field> list_fields;  // requests: item_id, position, score, declared ones
  std::vector<schema::DeclaredColumn> list_declared;
  Field list;  // requests: candidates; items: embedding
  size_t num_fixed() const { return fields.size() - declared.size(); }
};

// Throws UserError if source.columns names a column that the table lacks.
Layout make_layout(TableKind table, const SourceOptions& source, const schema::LogSchema& schema);
TableKind table_kind(std::string_view name);

enum class ListState : uint8_t { Absent, Null, Present };

struct RawRow {
  int64_t number = 0;  // from 1: line of text, row of a table
  std::vector<Cell> cells;
  ListState list_state = ListState::Absent;
  int64_t list_size = 0;
  std::vector<Cell> list_cells;       // list_size × list_fields; embedding: list_size
  std::vector<uint8_t> list_is_null;  // by element
  std::string_view raw;               // the text as read, where there is one
};

// What readers call. `bad` takes rows that cannot be read as a row at all.
struct RowVisitor {
  std::function<void(const RawRow&)> row;
  std::function<void(int64_t number, std::string_view reason, std::string_view message, std::string_view raw)>
      bad;
  std::function<void(std::string_view rule)> repaired;
};

// Streams one file. `constants`: hive partition columns of its path. Throws UserError if the file cannot be
// read at all.
void read_parquet(const std::string& path, const Layout& layout, const config::StringMap& constants,
                  const Options& options, const RowVisitor& visitor);
void read_delimited(const std::string& path, char delimiter, const Layout& layout,
                    const config::StringMap& constants, const Options& options, const RowVisitor& visitor);
void read_ndjson(const std::string& path, const Layout& layout, const config::StringMap& constants,
                 const Options& options, const RowVisitor& visitor);

}  // namespace uniscale::ingest
