// Columns made of rows picked from other columns. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "es3/detail/id_index.h"
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
// `type`: String, Double, Float, Int32, Int64 or List (of floats; InternalError otherwise).
table::Column gather(table::Type type, const std::vector<const table::Column*>& sources,
                     std::span<const Ref> refs, size_t max_column_bytes = kMaxColumnBytes);

// The different rows among refs: refs[i] is `different[number[i]]`.
struct DistinctRefs {
  std::vector<Ref> different;
  std::vector<int32_t> number;
};
DistinctRefs distinct_refs(std::span<const Ref> refs);

// Strings collected into a dictionary while codes are handed out; the bytes belong to the caller.
class StringCoder {
 public:
  explicit StringCoder(size_t max_column_bytes) : max_column_bytes_(max_column_bytes) {}
  // −1 if data() is null.
  int32_t code(std::string_view text) { return text.data() == nullptr ? -1 : words_.insert(text); }
  // Throws ColumnTooLarge if the rows' text would not fit a plain column.
  table::Column finish(std::vector<int32_t> codes) const;

 private:
  IdIndex words_;
  size_t max_column_bytes_;
};

// As `gather` of strings, by way of the different rows.
table::Column gather_coded(const std::vector<const table::Column*>& sources, const DistinctRefs& refs,
                           size_t max_column_bytes = kMaxColumnBytes);

// Rows of one column, of any type, lists and structs included.
table::Column take(const table::Column& column, std::span<const int64_t> rows);

}  // namespace uniscale::es3
