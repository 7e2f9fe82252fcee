// Columnar tables in memory: immutable typed columns that may share memory with a file reader, plain vectors
// to build them. The one door to Arrow and Parquet: nothing outside this room sees Arrow.
//
// Letters: n rows. Thread-safety: a Column is immutable; reading it from many threads is safe.
// Invariants: offsets have n + 1 entries, start anywhere, never fall; children hold at least offsets[n] rows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::table {

enum class Type { Bool, Int8, Int32, Int64, Float, Double, String, List, Struct };
std::string_view type_name(Type type);

class Column {
 public:
  Column() = default;

  Type type() const { return type_; }
  int64_t length() const { return length_; }
  // What the file called the type before it was normalised ("timestamp[ns, tz=UTC]", "dictionary<…>"); for
  // messages.
  const std::string& source_type() const { return source_type_; }

  bool has_nulls() const { return validity_ != nullptr; }
  bool is_valid(int64_t i) const {
    return validity_ == nullptr ||
           ((validity_[(i + validity_offset_) >> 3] >> ((i + validity_offset_) & 7)) & 1) != 0;
  }

  // Values by type; entries of null rows are unspecified. Bool is one byte a row.
  std::span<const uint8_t> bools() const { return values_as<uint8_t>(Type::Bool); }
  std::span<const int8_t> int8s() const { return values_as<int8_t>(Type::Int8); }
  std::span<const int32_t> int32s() const { return values_as<int32_t>(Type::Int32); }
  std::span<const int64_t> int64s() const { return values_as<int64_t>(Type::Int64); }
  std::span<const float> floats() const { return values_as<float>(Type::Float); }
  std::span<const double> doubles() const { return values_as<double>(Type::Double); }
  // Of a null row: a view whose data() is null.
  std::string_view string(int64_t i) const {
    if (!is_valid(i)) return {};
    if (codes_ != nullptr) i = codes_[i];
    return {static_cast<const char*>(values_) + offsets_[i],
            static_cast<size_t>(offsets_[i + 1] - offsets_[i])};
  }

  // String with a dictionary: the row of dictionary() of each row; of a null row unspecified. Else empty.
  bool is_coded() const { return codes_ != nullptr; }
  std::span<const int32_t> codes() const {
    return {codes_, codes_ == nullptr ? size_t{0} : static_cast<size_t>(length_)};
  }
  const Column& dictionary() const { return child(0); }

  // List: rows [list_begin(i), list_end(i)) of child(0). A null list has no rows.
  int64_t list_begin(int64_t i) const { return offsets_[i]; }
  int64_t list_end(int64_t i) const { return offsets_[i + 1]; }
  // String without a dictionary and List: n + 1 offsets.
  std::span<const int32_t> offsets() const { return {offsets_, static_cast<size_t>(length_ + 1)}; }

  // Struct: fields by index or name; a struct's null row does not null its fields: test both.
  int num_children() const { return static_cast<int>(children_.size()); }
  const Column& child(int i) const { return *children_[static_cast<size_t>(i)]; }
  const std::string& child_name(int i) const { return child_names_[static_cast<size_t>(i)]; }
  const Column* find_child(std::string_view name) const;

 private:
  friend class ColumnAccess;
  template <class T>
  std::span<const T> values_as(Type type) const {
    require_type(type);
    return {static_cast<const T*>(values_), static_cast<size_t>(length_)};
  }
  void require_type(Type type) const;

  Type type_ = Type::Int64;
  int64_t length_ = 0;
  const uint8_t* validity_ = nullptr;  // LSB-first bits, null = all valid
  int64_t validity_offset_ = 0;
  const void* values_ = nullptr;
  const int32_t* offsets_ = nullptr;
  const int32_t* codes_ = nullptr;  // String: rows of the dictionary; null: no dictionary
  std::vector<std::shared_ptr<const Column>> children_;  // of a String with a dictionary: the dictionary
  std::vector<std::string> child_names_;
  std::string source_type_;
  std::shared_ptr<const void> owner_;  // keeps the memory alive
};

// Named columns of equal length.
class Table {
 public:
  int64_t num_rows() const { return num_rows_; }
  int num_columns() const { return static_cast<int>(columns_.size()); }
  const Column& column(int i) const { return columns_[static_cast<size_t>(i)]; }
  const std::string& name(int i) const { return names_[static_cast<size_t>(i)]; }
  const Column* find(std::string_view name) const;
  // Throws UserError naming `where`, the column and what there is, if it is missing or of another type.
  const Column& require(std::string_view name, Type type, std::string_view where) const;
  void add(std::string name, Column column);

 private:
  int64_t num_rows_ = 0;
  std::vector<std::string> names_;
  std::vector<Column> columns_;
};

// --- Building. `valid` empty: no nulls; else one byte a row, 0 = null. ---

// Strings one after another.
struct StringVector {
  std::string bytes;
  std::vector<int32_t> offsets{0};
  std::vector<uint8_t> valid;  // stays empty until the first null

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
  void push(std::string_view text);
  void push_null();
  // data() null means null.
  void push_nullable(std::string_view text) { text.data() == nullptr ? push_null() : push(text); }
};

// Fixed-width values with nulls.
template <class T>
struct ValueVector {
  std::vector<T> values;
  std::vector<uint8_t> valid;  // stays empty until the first null

  void push(T value) {
    values.push_back(value);
    if (!valid.empty()) valid.push_back(1);
  }
  void push_null() {
    if (valid.empty()) valid.assign(values.size(), 1);
    values.push_back(T{});
    valid.push_back(0);
  }
  void push_optional(std::optional<T> value) { value ? push(*value) : push_null(); }
};

Column make_bools(std::vector<uint8_t> values, std::vector<uint8_t> valid = {});
Column make_int8s(std::vector<int8_t> values, std::vector<uint8_t> valid = {});
Column make_int32s(std::vector<int32_t> values, std::vector<uint8_t> valid = {});
Column make_int64s(std::vector<int64_t> values, std::vector<uint8_t> valid = {});
Column make_floats(std::vector<float> values, std::vector<uint8_t> valid = {});
Column make_doubles(std::vector<double> values, std::vector<uint8_t> valid = {});
Column make_strings(StringVector strings);
// Strings by their row in a dictionary without nulls; −1 = null. Written as such, which spares copying and
// hashing every row.
Column make_coded_strings(std::vector<int32_t> codes, StringVector dictionary);
// `offsets`: n + 1 entries from 0 into `child`.
Column make_list(std::vector<int32_t> offsets, Column child, std::vector<uint8_t> valid = {});
// `num_rows` matters when there are no fields.
Column make_struct(std::vector<std::string> names, std::vector<Column> fields, int64_t num_rows,
                   std::vector<uint8_t> valid = {});

}  // namespace uniscale::table
