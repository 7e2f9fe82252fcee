// Validates raw rows and encodes them (es3.md §0, §9). Not thread-safe: one converter per file.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "ingest/record.h"
#include "ingest/row.h"

namespace uniscale::ingest {

// Why a row goes to quarantine.
struct Rejection {
  std::string reason;  // missing, type, number, utf8, time, position, …
  std::string column;
  std::string message;
};

// `key`: the id that decides the partition.
using Emit = std::function<void(RecordKind kind, std::string_view key, std::string_view bytes)>;
using Count = std::function<void(std::string_view rule)>;

class Converter {
 public:
  Converter(const Layout& layout, const SourceOptions& source, Emit emit, Count repaired);
  // Throws Rejection.
  void convert(const RawRow& row);

 private:
  std::string_view id(const Cell& cell, std::string_view column, bool is_required);
  std::string_view text(const Cell& cell, std::string_view column);
  std::optional<double> number(const Cell& cell, std::string_view column);
  std::optional<int64_t> integer(const Cell& cell, std::string_view column);
  std::optional<int32_t> position(const Cell& cell, std::string_view column);
  std::optional<float> score(const Cell& cell, std::string_view column);
  std::optional<int64_t> time(const Cell& cell, std::string_view column);
  std::string_view domain(const Cell& cell);
  std::string_view keep(std::string text);
  std::string_view features(const Cell* cells, const Declared& declared);

  Layout layout_;
  SourceOptions source_;
  Emit emit_;
  Count repaired_;
  std::vector<std::unique_ptr<std::string>> kept_;  // texts made for the row at hand
  RecordWriter out_;
};

bool is_utf8(std::string_view text);

}  // namespace uniscale::ingest
