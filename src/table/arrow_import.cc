#include <arrow/util/decimal.h>
#include <arrow/util/float16.h>
#include <fmt/format.h>

#include <functional>
#include <limits>

#include "base/error.h"
#include "base/time.h"
#include "table/detail/arrow_columns.h"
#include "table/detail/column_access.h"

namespace uniscale::table {
namespace {

using arrow::Array;
using arrow::ArrayData;

// Parts with validity and owner taken from the array.
ColumnAccess::Parts parts_of(Type type, const std::shared_ptr<Array>& array) {
  ColumnAccess::Parts parts;
  parts.type = type;
  parts.length = array->length();
  if (array->null_count() != 0 && array->null_bitmap_data() != nullptr) {
    parts.validity = array->null_bitmap_data();
    parts.validity_offset = array->offset();
  }
  parts.source_type = array->type()->ToString();
  parts.owner = array;
  return parts;
}

template <class T>
struct Converted {
  std::shared_ptr<Array> source;  // its validity bits are still used
  std::vector<T> values;
};

// Row by row through `convert(i)`; null rows become zero.
template <class T, class Convert>
Column convert_rows(Type type, const std::shared_ptr<Array>& array, Convert convert) {
  auto converted = std::make_shared<Converted<T>>();
  converted->source = array;
  converted->values.resize(static_cast<size_t>(array->length()));
  for (int64_t i = 0; i < array->length(); ++i) {
    if (array->IsValid(i)) converted->values[static_cast<size_t>(i)] = convert(i);
  }
  ColumnAccess::Parts parts = parts_of(type, array);
  parts.values = converted->values.data();
  parts.owner = converted;
  return ColumnAccess::make(std::move(parts));
}

template <class ArrowArray>
Column view_rows(Type type, const std::shared_ptr<Array>& array) {
  ColumnAccess::Parts parts = parts_of(type, array);
  parts.values = static_cast<const ArrowArray&>(*array).raw_values();
  return ColumnAccess::make(std::move(parts));
}

template <class ArrowArray>
Column widen(const std::shared_ptr<Array>& array) {
  const auto& typed = static_cast<const ArrowArray&>(*array);
  return convert_rows<int64_t>(Type::Int64, array,
                               [&](int64_t i) { return static_cast<int64_t>(typed.Value(i)); });
}

[[noreturn]] void out_of_range(const std::string& where, int64_t row, const std::string& what) {
  throw base::UserError(fmt::format("{}: row {}: {}", where, row, what));
}

// Times of any unit → milliseconds, rounding down.
int64_t to_millis(int64_t value, arrow::TimeUnit::type unit, const std::string& where, int64_t row) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      if (value > std::numeric_limits<int64_t>::max() / 1000 ||
          value < std::numeric_limits<int64_t>::min() / 1000) {
        out_of_range(where, row,
                     fmt::format("expected a time in the range of milliseconds, got {} s", value));
      }
      return value * 1000;
    case arrow::TimeUnit::MILLI:
      return value;
    case arrow::TimeUnit::MICRO:
      return value / 1000 - (value % 1000 < 0 ? 1 : 0);
    case arrow::TimeUnit::NANO:
      return value / 1'000'000 - (value % 1'000'000 < 0 ? 1 : 0);
  }
  US_UNREACHABLE();
}

struct OwnedStrings {
  StringVector strings;
  std::vector<uint8_t> validity;  // bits, LSB first
};

// Strings of another layout (64-bit offsets, views, dictionary) copied row by row.
template <class Get>
Column copy_strings(const std::shared_ptr<Array>& array, Get get) {
  auto owned = std::make_shared<OwnedStrings>();
  bool any_null = false;
  owned->validity.resize(static_cast<size_t>((array->length() + 7) / 8));
  for (int64_t i = 0; i < array->length(); ++i) {
    const std::string_view text = array->IsValid(i) ? std::string_view(get(i)) : std::string_view();
    owned->strings.push(text);
    if (text.data() == nullptr) {
      any_null = true;
    } else {
      uint8_t& bits = owned->validity[static_cast<size_t>(i >> 3)];
      bits = static_cast<uint8_t>(bits | (1U << (i & 7)));
    }
  }
  ColumnAccess::Parts parts = parts_of(Type::String, array);
  // Not the array's own bits: an entry of a dictionary may be null too.
  parts.validity = any_null ? owned->validity.data() : nullptr;
  parts.validity_offset = 0;
  parts.values = owned->strings.bytes.data();
  parts.offsets = owned->strings.offsets.data();
  parts.owner = owned;
  return ColumnAccess::make(std::move(parts));
}

Column import_list(const std::shared_ptr<Array>& array, const std::shared_ptr<Array>& values,
                   std::vector<int32_t> offsets, const int32_t* shared_offsets, const std::string& where,
                   bool keep_codes) {
  struct Owned {
    std::shared_ptr<Array> source;
    std::vector<int32_t> offsets;
  };
  auto owned = std::make_shared<Owned>();
  owned->source = array;
  owned->offsets = std::move(offsets);
  ColumnAccess::Parts parts = parts_of(Type::List, array);
  parts.offsets = shared_offsets != nullptr ? shared_offsets : owned->offsets.data();
  parts.children = {std::make_shared<Column>(import_array(values, where, keep_codes))};
  parts.child_names = {"element"};
  parts.owner = owned;
  return ColumnAccess::make(std::move(parts));
}

std::vector<int32_t> narrow_offsets(int64_t n, const std::function<int64_t(int64_t)>& at,
                                    const std::string& where) {
  std::vector<int32_t> offsets;
  for (int64_t i = 0; i <= n; ++i) {
    const int64_t offset = at(i);
    if (offset > std::numeric_limits<int32_t>::max())
      out_of_range(where, i, "more than 2^31 list elements in one batch");
    offsets.push_back(static_cast<int32_t>(offset));
  }
  return offsets;
}

template <class Index>
Column import_dictionary(const std::shared_ptr<Array>& array, const std::string& where) {
  const auto& dictionary = static_cast<const arrow::DictionaryArray&>(*array);
  const Column values = import_array(dictionary.dictionary(), where);
  US_REQUIRE(values.type() == Type::String,
             fmt::format("{}: expected a dictionary of strings, got {}", where, array->type()->ToString()));
  const auto& indices = static_cast<const Index&>(*dictionary.indices());
  return copy_strings(array, [&](int64_t i) {
    const auto index = static_cast<int64_t>(indices.Value(i));
    US_REQUIRE(index >= 0 && index < values.length(),
               fmt::format("{}: row {}: dictionary index out of range", where, i));
    return values.string(index);
  });
}

// Codes as they are; the dictionary must have no nulls.
Column import_codes(const std::shared_ptr<Array>& array, const std::string& where) {
  const auto& dictionary = static_cast<const arrow::DictionaryArray&>(*array);
  const auto words = std::make_shared<const Column>(import_array(dictionary.dictionary(), where));
  const auto& indices = static_cast<const arrow::Int32Array&>(*dictionary.indices());
  for (int64_t i = 0; i < array->length(); ++i) {
    US_REQUIRE(indices.IsNull(i) || (indices.Value(i) >= 0 && indices.Value(i) < words->length()),
               fmt::format("{}: row {}: dictionary index out of range", where, i));
  }
  ColumnAccess::Parts parts = parts_of(Type::String, array);
  parts.values = ColumnAccess::values(*words);
  parts.offsets = ColumnAccess::offsets(*words);
  parts.codes = indices.raw_values();
  parts.children = {words};
  return ColumnAccess::make(std::move(parts));
}

Column import_any_dictionary(const std::shared_ptr<Array>& array, const std::string& where, bool keep_codes) {
  const auto& typed = static_cast<const arrow::DictionaryArray&>(*array);
  if (keep_codes && array->length() > 0 && typed.indices()->type_id() == arrow::Type::INT32 &&
      typed.dictionary()->null_count() == 0)
    return import_codes(array, where);
  switch (static_cast<const arrow::DictionaryArray&>(*array).indices()->type_id()) {
    case arrow::Type::INT8:
      return import_dictionary<arrow::Int8Array>(array, where);
    case arrow::Type::UINT8:
      return import_dictionary<arrow::UInt8Array>(array, where);
    case arrow::Type::INT16:
      return import_dictionary<arrow::Int16Array>(array, where);
    case arrow::Type::UINT16:
      return import_dictionary<arrow::UInt16Array>(array, where);
    case arrow::Type::INT32:
      return import_dictionary<arrow::Int32Array>(array, where);
    case arrow::Type::UINT32:
      return import_dictionary<arrow::UInt32Array>(array, where);
    default:
      return import_dictionary<arrow::Int64Array>(array, where);
  }
}

// Hashed ids fill all 64 bits: beyond 2^63 − 1 the column becomes the digits, exactly.
Column import_uint64(const std::shared_ptr<Array>& array) {
  const auto& typed = static_cast<const arrow::UInt64Array&>(*array);
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  bool fits = true;
  for (int64_t i = 0; i < array->length(); ++i) fits = fits && (array->IsNull(i) || typed.Value(i) <= kMax);
  if (fits) {
    return convert_rows<int64_t>(Type::Int64, array,
                                 [&](int64_t i) { return static_cast<int64_t>(typed.Value(i)); });
  }
  std::string digits;
  return copy_strings(array, [&](int64_t i) -> std::string_view {
    digits = std::to_string(typed.Value(i));
    return digits;
  });
}

// Whole decimals are how some databases keep ids: exact, as integers or as digits.
Column import_whole_decimals(const std::shared_ptr<Array>& array) {
  const auto& typed = static_cast<const arrow::Decimal128Array&>(*array);
  const auto value = [&](int64_t i) { return arrow::Decimal128(typed.GetValue(i)); };
  bool fits = true;
  for (int64_t i = 0; i < array->length(); ++i) {
    fits = fits && (array->IsNull(i) || (value(i) >= std::numeric_limits<int64_t>::min() &&
                                         value(i) <= std::numeric_limits<int64_t>::max()));
  }
  if (fits) {
    return convert_rows<int64_t>(Type::Int64, array,
                                 [&](int64_t i) { return static_cast<int64_t>(value(i).low_bits()); });
  }
  std::string digits;
  return copy_strings(array, [&](int64_t i) -> std::string_view {
    digits = value(i).ToIntegerString();
    return digits;
  });
}

}  // namespace

Column import_array(const std::shared_ptr<Array>& array, const std::string& where, bool keep_codes) {
  switch (array->type_id()) {
    case arrow::Type::NA: {
      StringVector strings;
      for (int64_t i = 0; i < array->length(); ++i) strings.push_null();
      return make_strings(std::move(strings));
    }
    case arrow::Type::BOOL: {
      const auto& bools = static_cast<const arrow::BooleanArray&>(*array);
      return convert_rows<uint8_t>(Type::Bool, array, [&](int64_t i) { return bools.Value(i) ? 1 : 0; });
    }
    case arrow::Type::INT8:
      return view_rows<arrow::Int8Array>(Type::Int8, array);
    case arrow::Type::INT32:
      return view_rows<arrow::Int32Array>(Type::Int32, array);
    case arrow::Type::INT64:
      return view_rows<arrow::Int64Array>(Type::Int64, array);
    case arrow::Type::UINT8:
      return widen<arrow::UInt8Array>(array);
    case arrow::Type::INT16:
      return widen<arrow::Int16Array>(array);
    case arrow::Type::UINT16:
      return widen<arrow::UInt16Array>(array);
    case arrow::Type::UINT32:
      return widen<arrow::UInt32Array>(array);
    case arrow::Type::UINT64:
      return import_uint64(array);
    case arrow::Type::HALF_FLOAT: {
      const auto& typed = static_cast<const arrow::HalfFloatArray&>(*array);
      return convert_rows<float>(Type::Float, array, [&](int64_t i) {
        return arrow::util::Float16::FromBits(typed.Value(i)).ToFloat();
      });
    }
    case arrow::Type::FLOAT:
      return view_rows<arrow::FloatArray>(Type::Float, array);
    case arrow::Type::DOUBLE:
      return view_rows<arrow::DoubleArray>(Type::Double, array);
    case arrow::Type::DECIMAL128: {
      const auto& typed = static_cast<const arrow::Decimal128Array&>(*array);
      const int32_t scale = static_cast<const arrow::DecimalType&>(*array->type()).scale();
      if (scale == 0) return import_whole_decimals(array);
      return convert_rows<double>(Type::Double, array, [&](int64_t i) {
        return arrow::Decimal128(typed.GetValue(i)).ToDouble(scale);
      });
    }
    case arrow::Type::DECIMAL256: {
      const auto& typed = static_cast<const arrow::Decimal256Array&>(*array);
      const int32_t scale = static_cast<const arrow::DecimalType&>(*array->type()).scale();
      return convert_rows<double>(Type::Double, array, [&](int64_t i) {
        return arrow::Decimal256(typed.GetValue(i)).ToDouble(scale);
      });
    }
    case arrow::Type::TIMESTAMP: {
      const auto& typed = static_cast<const arrow::TimestampArray&>(*array);
      const auto unit = static_cast<const arrow::TimestampType&>(*array->type()).unit();
      if (unit == arrow::TimeUnit::MILLI) return view_rows<arrow::TimestampArray>(Type::Int64, array);
      return convert_rows<int64_t>(Type::Int64, array,
                                   [&](int64_t i) { return to_millis(typed.Value(i), unit, where, i); });
    }
    case arrow::Type::DATE32: {
      const auto& typed = static_cast<const arrow::Date32Array&>(*array);
      return convert_rows<int64_t>(Type::Int64, array,
                                   [&](int64_t i) { return typed.Value(i) * base::kDayMs; });
    }
    case arrow::Type::DATE64:
      return view_rows<arrow::Date64Array>(Type::Int64, array);
    case arrow::Type::STRING:
    case arrow::Type::BINARY: {
      const auto& typed = static_cast<const arrow::BinaryArray&>(*array);
      ColumnAccess::Parts parts = parts_of(Type::String, array);
      // Never null, or an empty text would read as a null one.
      const uint8_t* bytes = typed.value_data() ? typed.value_data()->data() : nullptr;
      parts.values = bytes != nullptr ? bytes : reinterpret_cast<const uint8_t*>("");
      parts.offsets = typed.raw_value_offsets();
      return ColumnAccess::make(std::move(parts));
    }
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY: {
      const auto& typed = static_cast<const arrow::LargeBinaryArray&>(*array);
      return copy_strings(array, [&](int64_t i) { return typed.GetView(i); });
    }
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW: {
      const auto& typed = static_cast<const arrow::BinaryViewArray&>(*array);
      return copy_strings(array, [&](int64_t i) { return typed.GetView(i); });
    }
    case arrow::Type::FIXED_SIZE_BINARY: {
      const auto& typed = static_cast<const arrow::FixedSizeBinaryArray&>(*array);
      return copy_strings(array, [&](int64_t i) { return typed.GetView(i); });
    }
    case arrow::Type::DICTIONARY:
      return import_any_dictionary(array, where, keep_codes);
    case arrow::Type::LIST:
    case arrow::Type::MAP: {
      const auto& list = static_cast<const arrow::ListArray&>(*array);
      return import_list(array, list.values(), {}, list.raw_value_offsets(), where, keep_codes);
    }
    case arrow::Type::LARGE_LIST: {
      const auto& list = static_cast<const arrow::LargeListArray&>(*array);
      return import_list(array, list.values(),
                         narrow_offsets(
                             list.length(), [&](int64_t i) { return list.value_offset(i); }, where),
                         nullptr, where, keep_codes);
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListArray&>(*array);
      return import_list(array, list.values(),
                         narrow_offsets(
                             list.length(), [&](int64_t i) { return list.value_offset(i); }, where),
                         nullptr, where, keep_codes);
    }
    case arrow::Type::STRUCT: {
      const auto& typed = static_cast<const arrow::StructArray&>(*array);
      ColumnAccess::Parts parts = parts_of(Type::Struct, array);
      for (int i = 0; i < typed.num_fields(); ++i) {
        const std::string& name = typed.struct_type()->field(i)->name();
        parts.children.push_back(
            std::make_shared<Column>(import_array(typed.field(i), where + "." + name, keep_codes)));
        parts.child_names.push_back(name);
      }
      return ColumnAccess::make(std::move(parts));
    }
    default:
      break;
  }
  throw base::UserError(
      fmt::format("{}: values of type {} are not supported", where, array->type()->ToString()));
}

Table import_batch(const arrow::RecordBatch& batch, const std::string& where, bool keep_codes) {
  Table table;
  for (int i = 0; i < batch.num_columns(); ++i) {
    table.add(
        batch.column_name(i),
        import_array(batch.column(i), fmt::format("{}: column {}", where, batch.column_name(i)), keep_codes));
  }
  return table;
}

}  // namespace uniscale::table
