// How this room fills Columns; nobody else may.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "table/table.h"

namespace uniscale::table {

class ColumnAccess {
 public:
  struct Parts {
    Type type = Type::Int64;
    int64_t length = 0;
    const uint8_t* validity = nullptr;
    int64_t validity_offset = 0;
    const void* values = nullptr;
    const int32_t* offsets = nullptr;
    const int32_t* codes = nullptr;
    std::vector<std::shared_ptr<const Column>> children;
    std::vector<std::string> child_names;
    std::string source_type;
    std::shared_ptr<const void> owner;
  };
  static Column make(Parts parts) {
    Column column;
    column.type_ = parts.type;
    column.length_ = parts.length;
    column.validity_ = parts.validity;
    column.validity_offset_ = parts.validity_offset;
    column.values_ = parts.values;
    column.offsets_ = parts.offsets;
    column.codes_ = parts.codes;
    column.children_ = std::move(parts.children);
    column.child_names_ = std::move(parts.child_names);
    column.source_type_ = std::move(parts.source_type);
    column.owner_ = std::move(parts.owner);
    return column;
  }
  static const uint8_t* validity(const Column& column) { return column.validity_; }
  static int64_t validity_offset(const Column& column) { return column.validity_offset_; }
  static const void* values(const Column& column) { return column.values_; }
  static const int32_t* offsets(const Column& column) { return column.offsets_; }
  static const int32_t* codes(const Column& column) { return column.codes_; }
  static std::shared_ptr<const void> owner(const Column& column) { return column.owner_; }
};

}  // namespace uniscale::table
