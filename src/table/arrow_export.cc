#include "base/error.h"
#include "table/detail/arrow_columns.h"
#include "table/detail/column_access.h"

namespace uniscale::table {
namespace {

// A buffer over memory that `owner` keeps alive.
class BorrowedBuffer : public arrow::Buffer {
 public:
  BorrowedBuffer(const void* data, int64_t size, std::shared_ptr<const void> owner)
      : arrow::Buffer(static_cast<const uint8_t*>(data), size), owner_(std::move(owner)) {}

 private:
  std::shared_ptr<const void> owner_;
};

std::shared_ptr<arrow::Buffer> borrow(const Column& column, const void* data, int64_t size) {
  return std::make_shared<BorrowedBuffer>(data, size, ColumnAccess::owner(column));
}

template <class Make>
std::shared_ptr<arrow::Buffer> make_bits(int64_t n, Make bit) {
  std::string bits(static_cast<size_t>((n + 7) / 8), '\0');
  for (int64_t i = 0; i < n; ++i) {
    if (bit(i))
      bits[static_cast<size_t>(i >> 3)] =
          static_cast<char>(bits[static_cast<size_t>(i >> 3)] | (1 << (i & 7)));
  }
  return arrow::Buffer::FromString(std::move(bits));
}

std::shared_ptr<arrow::Buffer> validity_of(const Column& column) {
  if (!column.has_nulls()) return nullptr;
  if (ColumnAccess::validity_offset(column) == 0) {
    return borrow(column, ColumnAccess::validity(column), (column.length() + 7) / 8);
  }
  return make_bits(column.length(), [&](int64_t i) { return column.is_valid(i); });
}

int64_t value_bytes(Type type) {
  switch (type) {
    case Type::Int8:
      return 1;
    case Type::Int32:
    case Type::Float:
      return 4;
    default:
      return 8;
  }
}

}  // namespace

std::shared_ptr<arrow::DataType> export_type(const Column& column) {
  switch (column.type()) {
    case Type::Bool:
      return arrow::boolean();
    case Type::Int8:
      return arrow::int8();
    case Type::Int32:
      return arrow::int32();
    case Type::Int64:
      return arrow::int64();
    case Type::Float:
      return arrow::float32();
    case Type::Double:
      return arrow::float64();
    case Type::String:
      return ColumnAccess::codes(column) == nullptr ? arrow::utf8()
                                                    : arrow::dictionary(arrow::int32(), arrow::utf8());
    case Type::List:
      return arrow::list(arrow::field("element", export_type(column.child(0))));
    case Type::Struct: {
      arrow::FieldVector fields;
      for (int i = 0; i < column.num_children(); ++i) {
        fields.push_back(arrow::field(column.child_name(i), export_type(column.child(i))));
      }
      return arrow::struct_(fields);
    }
  }
  US_UNREACHABLE();
}

std::shared_ptr<arrow::Array> export_array(const Column& column) {
  const int64_t n = column.length();
  std::vector<std::shared_ptr<arrow::Buffer>> buffers{validity_of(column)};
  std::vector<std::shared_ptr<arrow::ArrayData>> children;
  switch (column.type()) {
    case Type::Bool: {
      const auto values = column.bools();
      buffers.push_back(make_bits(n, [&](int64_t i) { return values[static_cast<size_t>(i)] != 0; }));
      break;
    }
    case Type::String:
      if (const int32_t* codes = ColumnAccess::codes(column)) {
        buffers.push_back(borrow(column, codes, n * 4));
        auto data = arrow::ArrayData::Make(export_type(column), n, std::move(buffers));
        data->dictionary = export_array(column.child(0))->data();
        return arrow::MakeArray(data);
      }
      buffers.push_back(borrow(column, ColumnAccess::offsets(column), (n + 1) * 4));
      buffers.push_back(borrow(column, ColumnAccess::values(column), ColumnAccess::offsets(column)[n]));
      break;
    case Type::List:
      buffers.push_back(borrow(column, ColumnAccess::offsets(column), (n + 1) * 4));
      children.push_back(export_array(column.child(0))->data());
      break;
    case Type::Struct:
      for (int i = 0; i < column.num_children(); ++i)
        children.push_back(export_array(column.child(i))->data());
      break;
    default:
      buffers.push_back(borrow(column, ColumnAccess::values(column), n * value_bytes(column.type())));
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(export_type(column), n, std::move(buffers), std::move(children)));
}

}  // namespace uniscale::table
