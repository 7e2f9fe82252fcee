#include "table/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

#include "base/error.h"
#include "table/detail/column_access.h"

namespace uniscale::table {
namespace {

// One byte a row → bits, LSB first; empty stays empty.
std::vector<uint8_t> pack_bits(const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> bits((bytes.size() + 7) / 8, 0);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != 0) bits[i >> 3] = static_cast<uint8_t>(bits[i >> 3] | (1U << (i & 7)));
  }
  return bits;
}

// Holds what a built column points at.
template <class Values>
struct Owned {
  Values values;
  std::vector<uint8_t> validity;
};

template <class T>
Column make_fixed(Type type, std::vector<T> values, const std::vector<uint8_t>& valid) {
  US_CHECK(valid.empty() || valid.size() == values.size(), "validity of another length");
  auto owned = std::make_shared<Owned<std::vector<T>>>();
  owned->values = std::move(values);
  owned->validity = pack_bits(valid);
  return ColumnAccess::make({.type = type,
                             .length = static_cast<int64_t>(owned->values.size()),
                             .validity = valid.empty() ? nullptr : owned->validity.data(),
                             .values = owned->values.data(),
                             .owner = owned});
}

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::Bool:
      return "bool";
    case Type::Int8:
      return "int8";
    case Type::Int32:
      return "int32";
    case Type::Int64:
      return "int64";
    case Type::Float:
      return "float";
    case Type::Double:
      return "double";
    case Type::String:
      return "string";
    case Type::List:
      return "list";
    case Type::Struct:
      return "struct";
  }
  US_UNREACHABLE();
}

void Column::require_type(Type type) const {
  US_CHECK(type_ == type, fmt::format("a {} column read as {}", type_name(type_), type_name(type)));
}

const Column* Column::find_child(std::string_view name) const {
  for (size_t i = 0; i < child_names_.size(); ++i) {
    if (child_names_[i] == name) return children_[i].get();
  }
  return nullptr;
}

const Column* Table::find(std::string_view name) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == name) return &columns_[i];
  }
  return nullptr;
}

const Column& Table::require(std::string_view name, Type type, std::string_view where) const {
  const Column* column = find(name);
  US_REQUIRE(column != nullptr, fmt::format("{}: column {}: expected {}, got no such column (there are: {})",
                                            where, name, type_name(type), fmt::join(names_, ", ")));
  US_REQUIRE(column->type() == type,
             fmt::format("{}: column {}: expected {}, got {}", where, name, type_name(type),
                         column->source_type().empty() ? std::string(type_name(column->type()))
                                                       : column->source_type()));
  return *column;
}

void Table::add(std::string name, Column column) {
  US_CHECK(columns_.empty() || column.length() == num_rows_,
           fmt::format("column {} has another length", name));
  num_rows_ = column.length();
  names_.push_back(std::move(name));
  columns_.push_back(std::move(column));
}

void StringVector::push(std::string_view text) {
  US_REQUIRE(text.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()) - bytes.size(),
             "more than 2 GiB of text in one row group");
  bytes.append(text);
  offsets.push_back(static_cast<int32_t>(bytes.size()));
  if (!valid.empty()) valid.push_back(1);
}

void StringVector::push_null() {
  if (valid.empty()) valid.assign(static_cast<size_t>(size()), 1);
  offsets.push_back(static_cast<int32_t>(bytes.size()));
  valid.push_back(0);
}

Column make_bools(std::vector<uint8_t> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Bool, std::move(values), valid);
}
Column make_int8s(std::vector<int8_t> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Int8, std::move(values), valid);
}
Column make_int32s(std::vector<int32_t> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Int32, std::move(values), valid);
}
Column make_int64s(std::vector<int64_t> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Int64, std::move(values), valid);
}
Column make_floats(std::vector<float> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Float, std::move(values), valid);
}
Column make_doubles(std::vector<double> values, std::vector<uint8_t> valid) {
  return make_fixed(Type::Double, std::move(values), valid);
}

Column make_strings(StringVector strings) {
  US_CHECK(strings.valid.empty() || static_cast<int64_t>(strings.valid.size()) == strings.size(),
           "validity of another length");
  auto owned = std::make_shared<Owned<StringVector>>();
  owned->values = std::move(strings);
  owned->validity = pack_bits(owned->values.valid);
  return ColumnAccess::make({.type = Type::String,
                             .length = owned->values.size(),
                             .validity = owned->values.valid.empty() ? nullptr : owned->validity.data(),
                             .values = owned->values.bytes.data(),
                             .offsets = owned->values.offsets.data(),
                             .owner = owned});
}

Column make_coded_strings(std::vector<int32_t> codes, StringVector dictionary) {
  US_CHECK(dictionary.valid.empty(), "a dictionary has no nulls");
  const auto size = static_cast<int32_t>(dictionary.size());
  std::vector<uint8_t> valid;
  for (size_t i = 0; i < codes.size(); ++i) {
    US_CHECK(codes[i] >= -1 && codes[i] < size, "a code outside the dictionary");
    if (codes[i] >= 0) continue;
    if (valid.empty()) valid.assign(codes.size(), 1);
    valid[i] = 0;
    codes[i] = 0;
  }
  struct Coded {
    std::vector<int32_t> codes;
    std::vector<uint8_t> validity;
  };
  const auto words = std::make_shared<const Column>(make_strings(std::move(dictionary)));
  auto owned = std::make_shared<Coded>();
  owned->codes = std::move(codes);
  owned->codes.reserve(1);  // a pointer even where there is no row: it says that there is a dictionary
  owned->validity = pack_bits(valid);
  return ColumnAccess::make({.type = Type::String,
                             .length = static_cast<int64_t>(owned->codes.size()),
                             .validity = valid.empty() ? nullptr : owned->validity.data(),
                             .values = ColumnAccess::values(*words),
                             .offsets = ColumnAccess::offsets(*words),
                             .codes = owned->codes.data(),
                             .children = {words},
                             .owner = owned});
}

Column make_list(std::vector<int32_t> offsets, Column child, std::vector<uint8_t> valid) {
  US_CHECK(!offsets.empty() && offsets.front() == 0 && offsets.back() <= child.length(),
           "list offsets outside the child");
  US_CHECK(valid.empty() || valid.size() + 1 == offsets.size(), "validity of another length");
  auto owned = std::make_shared<Owned<std::vector<int32_t>>>();
  owned->values = std::move(offsets);
  owned->validity = pack_bits(valid);
  return ColumnAccess::make({.type = Type::List,
                             .length = static_cast<int64_t>(owned->values.size()) - 1,
                             .validity = valid.empty() ? nullptr : owned->validity.data(),
                             .offsets = owned->values.data(),
                             .children = {std::make_shared<Column>(std::move(child))},
                             .child_names = {"element"},
                             .owner = owned});
}

Column make_struct(std::vector<std::string> names, std::vector<Column> fields, int64_t num_rows,
                   std::vector<uint8_t> valid) {
  US_CHECK(names.size() == fields.size(), "a name for every field");
  std::vector<std::shared_ptr<const Column>> children;
  for (Column& field : fields) {
    US_CHECK(field.length() == num_rows, "a struct's field has another length");
    children.push_back(std::make_shared<Column>(std::move(field)));
  }
  auto owned = std::make_shared<std::vector<uint8_t>>(pack_bits(valid));
  return ColumnAccess::make({.type = Type::Struct,
                             .length = num_rows,
                             .validity = valid.empty() ? nullptr : owned->data(),
                             .children = std::move(children),
                             .child_names = std::move(names),
                             .owner = owned});
}

}  // namespace uniscale::table
