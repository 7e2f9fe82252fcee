#include "es3/detail/gather.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

using table::Column;
using table::Type;

struct RowRef {
  const Column* column;
  int64_t row;
};

// Validity is written only once a null is met.
class Validity {
 public:
  explicit Validity(size_t size) : size_(size) {}
  void set_null(size_t i) {
    if (valid_.empty()) valid_.assign(size_, 1);
    valid_[i] = 0;
  }
  std::vector<uint8_t> take() { return std::move(valid_); }

 private:
  size_t size_;
  std::vector<uint8_t> valid_;
};

template <class T, class At, class Values>
std::pair<std::vector<T>, std::vector<uint8_t>> gather_values(size_t size, const At& at,
                                                              const Values& values_of) {
  std::vector<T> values(size);
  Validity valid(size);
  for (size_t i = 0; i < size; ++i) {
    const RowRef ref = at(i);
    if (ref.column != nullptr && ref.column->is_valid(ref.row)) {
      values[i] = values_of(*ref.column)[static_cast<size_t>(ref.row)];
    } else {
      valid.set_null(i);
    }
  }
  return {std::move(values), valid.take()};
}

template <class At>
Column gather_strings(size_t size, const At& at, size_t max_column_bytes) {
  size_t num_bytes = 0;
  for (size_t i = 0; i < size; ++i) {
    const RowRef ref = at(i);
    if (ref.column != nullptr) num_bytes += ref.column->string(ref.row).size();
  }
  if (num_bytes > max_column_bytes) throw ColumnTooLarge("a string column exceeds its limit");
  table::StringVector strings;
  strings.bytes.reserve(num_bytes);
  strings.offsets.reserve(size + 1);
  Validity valid(size);
  for (size_t i = 0; i < size; ++i) {
    const RowRef ref = at(i);
    if (ref.column != nullptr && ref.column->is_valid(ref.row)) {
      strings.bytes.append(ref.column->string(ref.row));
    } else {
      valid.set_null(i);
    }
    strings.offsets.push_back(static_cast<int32_t>(strings.bytes.size()));
  }
  strings.valid = valid.take();
  return table::make_strings(std::move(strings));
}

// Most values of one column of vectors: 256 MiB.
constexpr size_t kMaxVectorValues = size_t{1} << 26;

// Lists of floats: embeddings.
template <class At>
Column gather_vectors(size_t size, const At& at, size_t max_column_bytes) {
  size_t num_values = 0;
  for (size_t i = 0; i < size; ++i) {
    const RowRef ref = at(i);
    if (ref.column != nullptr)
      num_values += static_cast<size_t>(ref.column->list_end(ref.row) - ref.column->list_begin(ref.row));
  }
  if (num_values > std::min(kMaxVectorValues, max_column_bytes / sizeof(float)))
    throw ColumnTooLarge("a column of embeddings exceeds its limit");
  std::vector<float> values;
  values.reserve(num_values);
  std::vector<int32_t> offsets{0};
  offsets.reserve(size + 1);
  Validity valid(size);
  for (size_t i = 0; i < size; ++i) {
    const RowRef ref = at(i);
    if (ref.column != nullptr && ref.column->is_valid(ref.row)) {
      const auto floats = ref.column->child(0).floats();
      values.insert(values.end(), floats.begin() + ref.column->list_begin(ref.row),
                    floats.begin() + ref.column->list_end(ref.row));
    } else {
      valid.set_null(i);
    }
    offsets.push_back(static_cast<int32_t>(values.size()));
  }
  return table::make_list(std::move(offsets), table::make_floats(std::move(values)), valid.take());
}

template <class At>
Column gather_flat(Type type, size_t size, const At& at, size_t max_column_bytes) {
  switch (type) {
    case Type::String:
      return gather_strings(size, at, max_column_bytes);
    case Type::Double: {
      auto [values, valid] = gather_values<double>(size, at, [](const Column& c) { return c.doubles(); });
      return table::make_doubles(std::move(values), std::move(valid));
    }
    case Type::Float: {
      auto [values, valid] = gather_values<float>(size, at, [](const Column& c) { return c.floats(); });
      return table::make_floats(std::move(values), std::move(valid));
    }
    case Type::Int8: {
      auto [values, valid] = gather_values<int8_t>(size, at, [](const Column& c) { return c.int8s(); });
      return table::make_int8s(std::move(values), std::move(valid));
    }
    case Type::Int32: {
      auto [values, valid] = gather_values<int32_t>(size, at, [](const Column& c) { return c.int32s(); });
      return table::make_int32s(std::move(values), std::move(valid));
    }
    case Type::Int64: {
      auto [values, valid] = gather_values<int64_t>(size, at, [](const Column& c) { return c.int64s(); });
      return table::make_int64s(std::move(values), std::move(valid));
    }
    case Type::Bool: {
      auto [values, valid] = gather_values<uint8_t>(size, at, [](const Column& c) { return c.bools(); });
      return table::make_bools(std::move(values), std::move(valid));
    }
    case Type::List:
      return gather_vectors(size, at, max_column_bytes);
    case Type::Struct:
      break;
  }
  US_UNREACHABLE();
}

std::vector<uint8_t> take_validity(const Column& column, std::span<const int64_t> rows) {
  Validity valid(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!column.is_valid(rows[i])) valid.set_null(i);
  }
  return valid.take();
}

}  // namespace

Column gather(Type type, const std::vector<const Column*>& sources, std::span<const Ref> refs,
              size_t max_column_bytes) {
  for (const Column* source : sources)
    US_CHECK(source == nullptr || source->type() == type, "a gathered column has another type");
  return gather_flat(
      type, refs.size(),
      [&](size_t i) {
        const Ref ref = refs[i];
        return RowRef{ref.source < 0 ? nullptr : sources[static_cast<size_t>(ref.source)], ref.row};
      },
      max_column_bytes);
}

Column take(const Column& column, std::span<const int64_t> rows) {
  if (column.type() == Type::List) {
    std::vector<int32_t> offsets{0};
    std::vector<int64_t> child_rows;
    for (const int64_t row : rows) {
      for (int64_t i = column.list_begin(row); i < column.list_end(row); ++i) child_rows.push_back(i);
      if (child_rows.size() > kMaxColumnBytes) throw ColumnTooLarge("a list column exceeds 2^31 entries");
      offsets.push_back(static_cast<int32_t>(child_rows.size()));
    }
    return table::make_list(std::move(offsets), take(column.child(0), child_rows),
                            take_validity(column, rows));
  }
  if (column.type() == Type::Struct) {
    std::vector<std::string> names;
    std::vector<Column> fields;
    for (int i = 0; i < column.num_children(); ++i) {
      names.push_back(column.child_name(i));
      fields.push_back(take(column.child(i), rows));
    }
    return table::make_struct(std::move(names), std::move(fields), static_cast<int64_t>(rows.size()),
                              take_validity(column, rows));
  }
  return gather_flat(
      column.type(), rows.size(), [&](size_t i) { return RowRef{&column, rows[i]}; }, kMaxColumnBytes);
}

DistinctRefs distinct_refs(std::span<const Ref> refs) {
  std::vector<size_t> num_rows;
  for (const Ref& ref : refs) {
    if (ref.source < 0) continue;
    const auto source = static_cast<size_t>(ref.source);
    if (num_rows.size() <= source) num_rows.resize(source + 1, 0);
    num_rows[source] = std::max(num_rows[source], static_cast<size_t>(ref.row) + 1);
  }
  std::vector<std::vector<int32_t>> numbers;
  for (const size_t size : num_rows) numbers.emplace_back(size, -1);
  int32_t none = -1;
  DistinctRefs distinct;
  distinct.number.reserve(refs.size());
  for (const Ref& ref : refs) {
    int32_t& number =
        ref.source < 0 ? none : numbers[static_cast<size_t>(ref.source)][static_cast<size_t>(ref.row)];
    if (number < 0) {
      number = static_cast<int32_t>(distinct.different.size());
      distinct.different.push_back(ref);
    }
    distinct.number.push_back(number);
  }
  return distinct;
}

Column StringCoder::finish(std::vector<int32_t> codes) const {
  size_t num_bytes = 0;
  for (const int32_t code : codes) num_bytes += code < 0 ? 0 : words_.id(code).size();
  if (num_bytes > max_column_bytes_) throw ColumnTooLarge("a string column exceeds its limit");
  table::StringVector dictionary;
  for (int32_t i = 0; i < words_.size(); ++i) dictionary.push(words_.id(i));
  return table::make_coded_strings(std::move(codes), std::move(dictionary));
}

Column gather_coded(const std::vector<const Column*>& sources, const DistinctRefs& refs,
                    size_t max_column_bytes) {
  StringCoder coder(max_column_bytes);
  std::vector<int32_t> code_of;
  code_of.reserve(refs.different.size());
  for (const Ref& ref : refs.different) {
    const Column* column = ref.source < 0 ? nullptr : sources[static_cast<size_t>(ref.source)];
    code_of.push_back(column == nullptr ? -1 : coder.code(column->string(ref.row)));
  }
  std::vector<int32_t> codes(refs.number.size());
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = code_of[static_cast<size_t>(refs.number[i])];
  return coder.finish(std::move(codes));
}

}  // namespace uniscale::es3
