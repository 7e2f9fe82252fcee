// Columns made of rows picked from other columns. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "table/table.h"

namespace uniscale::es3 {

// Row `row` of source `source`; source -1 = null.
struct Ref {
  int32_t source = -1;
  int32_t row = 0;
  static Ref none() { return {}; }
};

// Most bytes of one string column: its offsets are int32.
inline constexpr size_t kMaxColumnBytes = 0x7fffffff;

// A string column of more than that: make fewer rows at once.
class ColumnTooLarge : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// `sources[ref.source]` for each ref; a null source column gives nulls. All sources that stand must be of
// `type`: String, Double, Float, Int32 or Int64 (InternalError otherwise).
table::Column gather(table::Type type, const std::vector<const table::Column*>& sources,
                     std::span<const Ref> refs, size_t max_column_bytes = kMaxColumnBytes);

// Rows of one column, of any type, lists and structs included.
table::Column take(const table::Column& column, std::span<const int64_t> rows);

}  // namespace uniscale::es3
