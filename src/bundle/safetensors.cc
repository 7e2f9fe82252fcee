#include "bundle/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "bundle/detail/mapped_file.h"
#include "json/json.h"

namespace uniscale::bundle {
namespace {

constexpr uint64_t kMaxHeaderBytes = 16 << 20;
constexpr size_t kMaxRank = 8;

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  int64_t bytes;
};
constexpr DTypeInfo kDTypes[] = {{DType::F32, "F32", 4}, {DType::F64, "F64", 8}, {DType::BF16, "BF16", 2},
                                 {DType::I32, "I32", 4}, {DType::I64, "I64", 8}, {DType::U8, "U8", 1}};

const DTypeInfo& info_of(DType dtype) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.dtype == dtype) return info;
  }
  US_UNREACHABLE();
}

// Product of the dimensions times the width; nullopt if it overflows.
std::optional<uint64_t> checked_bytes(const std::vector<int64_t>& shape, int64_t width) {
  auto product = static_cast<uint64_t>(width);
  for (int64_t dimension : shape) {
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(dimension), &product)) return std::nullopt;
  }
  return product;
}

int64_t non_negative(const json::Value& value, const std::string& at) {
  US_REQUIRE(value.is_number_integer() && value.get<int64_t>() >= 0 &&
                 !(value.is_number_unsigned() &&
                   value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())),
             fmt::format("{}: expected a non-negative integer, got {}", at, value.dump()));
  return value.get<int64_t>();
}

}  // namespace

std::string_view dtype_name(DType dtype) { return info_of(dtype).name; }
int64_t dtype_bytes(DType dtype) { return info_of(dtype).bytes; }

int64_t TensorView::num_elements() const { return static_cast<int64_t>(bytes.size()) / dtype_bytes(dtype); }

std::span<const float> TensorView::f32() const {
  US_REQUIRE(dtype == DType::F32, fmt::format("tensor {}: expected F32, got {}", name, dtype_name(dtype)));
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  const MappedFile file = map_file(path);
  mapping_ = file.owner;
  US_REQUIRE(file.bytes.size() >= 8,
             fmt::format("{}: not a safetensors file: {} bytes", path, file.bytes.size()));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.bytes.data(), 8);
  US_REQUIRE(header_bytes <= kMaxHeaderBytes, fmt::format("{}: header length: expected at most {}, got {}",
                                                          path, kMaxHeaderBytes, header_bytes));
  US_REQUIRE(header_bytes <= file.bytes.size() - 8,
             fmt::format("{}: truncated: header of {} bytes in a file of {}", path, header_bytes,
                         file.bytes.size()));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes.data()) + 8, header_bytes);
  const json::Value header = json::parse(text, path);
  US_REQUIRE(header.is_object(),
             fmt::format("{}: header: expected an object, got {}", path, header.type_name()));
  const auto data = file.bytes.subspan(8 + header_bytes);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  std::set<std::string> names;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      US_REQUIRE(entry.is_object(), fmt::format("{}: __metadata__: expected an object", path));
      for (const auto& [key, value] : entry.items()) {
        US_REQUIRE(value.is_string(), fmt::format("{}: __metadata__.{}: expected a string", path, key));
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    const std::string at = fmt::format("{}: tensor {}", path, name);
    US_REQUIRE(names.insert(name).second, at + ": stands twice");
    TensorView tensor;
    tensor.name = name;
    const std::string dtype = json::string_member(entry, "dtype", at);
    const auto it = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                 [&](const DTypeInfo& i) { return i.name == dtype; });
    US_REQUIRE(it != std::end(kDTypes), fmt::format("{}: dtype: {} is not supported", at, dtype));
    tensor.dtype = it->dtype;
    const json::Value& shape = json::member(entry, "shape", at);
    US_REQUIRE(shape.is_array() && shape.size() <= kMaxRank,
               fmt::format("{}: shape: expected at most {} dimensions", at, kMaxRank));
    for (const json::Value& dimension : shape)
      tensor.shape.push_back(non_negative(dimension, at + ": shape"));
    const json::Value& offsets = json::member(entry, "data_offsets", at);
    US_REQUIRE(offsets.is_array() && offsets.size() == 2, at + ": data_offsets: expected two numbers");
    const auto begin = static_cast<uint64_t>(non_negative(offsets[0], at + ": data_offsets"));
    const auto end = static_cast<uint64_t>(non_negative(offsets[1], at + ": data_offsets"));
    US_REQUIRE(
        begin <= end && end <= data.size(),
        fmt::format("{}: data_offsets: [{}, {}] outside the {} bytes of data", at, begin, end, data.size()));
    const auto want = checked_bytes(tensor.shape, it->bytes);
    US_REQUIRE(want && *want == end - begin,
               fmt::format("{}: shape [{}] of {} does not fill its {} bytes", at,
                           fmt::join(tensor.shape, ", "), dtype, end - begin));
    tensor.bytes = data.subspan(begin, end - begin);
    US_REQUIRE(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % static_cast<uintptr_t>(it->bytes) == 0 ||
                   tensor.bytes.empty(),
               at + ": data is not aligned");
    ranges.emplace_back(begin, end);
    tensors_.push_back(std::move(tensor));
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t cursor = 0;
  for (const auto& [begin, end] : ranges) {
    US_REQUIRE(begin == cursor, fmt::format("{}: tensors overlap or leave a gap at byte {} of the data", path,
                                            std::min(begin, cursor)));
    cursor = end;
  }
  US_REQUIRE(cursor == data.size(),
             fmt::format("{}: {} bytes after the last tensor", path, data.size() - cursor));
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                   [](const TensorView& t, std::string_view n) { return t.name < n; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

const TensorView& SafetensorsFile::require(std::string_view name, DType dtype,
                                           const std::vector<int64_t>& shape) const {
  const TensorView* tensor = find(name);
  US_REQUIRE(tensor != nullptr, fmt::format("{}: tensor {}: missing", path_, name));
  US_REQUIRE(tensor->dtype == dtype && tensor->shape == shape,
             fmt::format("{}: tensor {}: expected {} [{}], got {} [{}]", path_, name, dtype_name(dtype),
                         fmt::join(shape, ", "), dtype_name(tensor->dtype), fmt::join(tensor->shape, ", ")));
  return *tensor;
}

void write_safetensors(const std::string& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Widest elements first, then by name: every tensor is aligned without gaps, which the format does not
  // allow.
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    if (dtype_bytes(a->dtype) != dtype_bytes(b->dtype)) return dtype_bytes(a->dtype) > dtype_bytes(b->dtype);
    return a->name < b->name;
  });
  json::Value header = json::Value::object();
  if (!metadata.empty()) {
    json::Value pairs = json::Value::object();
    for (const auto& [key, value] : metadata) pairs[key] = value;
    header["__metadata__"] = std::move(pairs);
  }
  uint64_t cursor = 0;
  for (const TensorView* tensor : order) {
    const auto want = checked_bytes(tensor->shape, dtype_bytes(tensor->dtype));
    US_CHECK(want && *want == tensor->bytes.size(),
             "tensor " + tensor->name + ": bytes do not match the shape");
    US_CHECK(!header.contains(tensor->name), "tensor " + tensor->name + " stands twice");
    header[tensor->name] = {{"dtype", std::string(dtype_name(tensor->dtype))},
                            {"shape", tensor->shape},
                            {"data_offsets", {cursor, cursor + tensor->bytes.size()}}};
    cursor += tensor->bytes.size();
  }
  std::string text = json::dump(header, -1);
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t header_bytes = text.size();
  std::string content(8, '\0');
  std::memcpy(content.data(), &header_bytes, 8);
  content += text;
  content.reserve(content.size() + cursor);
  for (const TensorView* tensor : order)
    content.append(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size());
  base::write_file_atomically(path, content);
}

}  // namespace uniscale::bundle
