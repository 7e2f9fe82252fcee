#include "serve/oip.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"

namespace uniscale::serve {
namespace {

constexpr size_t kMaxDimensions = 8;
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr std::string_view kFeature = "feature.";

template <class Number, class Out>
void read_numbers(std::string_view bytes, int64_t count, const std::string& name, std::vector<Out>& out) {
  US_REQUIRE(bytes.size() == static_cast<uint64_t>(count) * sizeof(Number),
             fmt::format("input \"{}\": expected {} bytes, got {}", name,
                         static_cast<uint64_t>(count) * sizeof(Number), bytes.size()));
  out.resize(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    Number value;
    std::memcpy(&value, bytes.data() + i * sizeof(Number), sizeof(Number));
    out[i] = static_cast<Out>(value);
  }
}

void read_texts(std::string_view bytes, int64_t count, OipTensor& tensor) {
  tensor.texts.clear();
  while (!bytes.empty()) {
    uint32_t size = 0;
    US_REQUIRE(bytes.size() >= sizeof(size),
               fmt::format("input \"{}\": cut off inside a length", tensor.name));
    std::memcpy(&size, bytes.data(), sizeof(size));
    bytes.remove_prefix(sizeof(size));
    US_REQUIRE(size <= bytes.size(), fmt::format("input \"{}\": an element of {} bytes, {} are left",
                                                 tensor.name, size, bytes.size()));
    US_REQUIRE(static_cast<int64_t>(tensor.texts.size()) < count,
               fmt::format("input \"{}\": expected {} elements, got more", tensor.name, count));
    tensor.texts.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  US_REQUIRE(
      static_cast<int64_t>(tensor.texts.size()) == count,
      fmt::format("input \"{}\": expected {} elements, got {}", tensor.name, count, tensor.texts.size()));
}

void require_datatype(const OipTensor& tensor) {
  for (const char* known : {"BYTES", "FP32", "FP64", "INT32", "INT64"})
    if (tensor.datatype == known) return;
  throw base::UserError(
      fmt::format("input \"{}\": datatype: expected BYTES, FP32, FP64, INT32 or INT64, got \"{}\"",
                  tensor.name, tensor.datatype));
}

void flatten(const json::Value& data, OipTensor& tensor) {
  if (data.is_array()) {
    for (const json::Value& one : data) flatten(one, tensor);
    return;
  }
  const auto wrong = [&](const char* expected) {
    throw base::UserError(
        fmt::format("input \"{}\": data: expected {}, got {}", tensor.name, expected, data.type_name()));
  };
  if (tensor.datatype == "BYTES") {
    if (!data.is_string()) wrong("strings");
    tensor.texts.push_back(data.get<std::string>());
  } else if (tensor.datatype.starts_with("FP")) {
    if (!data.is_number() && !data.is_null()) wrong("numbers");
    tensor.numbers.push_back(data.is_null() ? std::nan("") : data.get<double>());
  } else {
    if (!data.is_number_integer()) wrong("whole numbers");
    tensor.integers.push_back(data.get<int64_t>());
  }
}

size_t num_values(const OipTensor& tensor) {
  return tensor.texts.size() + tensor.numbers.size() + tensor.integers.size();
}

// UTF-8 without NUL: what JSON would have refused.
void require_text(const std::string& text, const std::string& name) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) -> uint32_t {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const uint32_t first = byte(i);
    const size_t size = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
    bool valid = size > 0 && first != 0;
    for (size_t k = 1; k < size; ++k) valid = valid && (byte(i + k) & 0xC0) == 0x80;
    if (size == 3)
      valid = valid && !(first == 0xE0 && byte(i + 1) < 0xA0) && !(first == 0xED && byte(i + 1) > 0x9F);
    if (size == 4)
      valid = valid && !(first == 0xF0 && byte(i + 1) < 0x90) && !(first == 0xF4 && byte(i + 1) > 0x8F);
    US_REQUIRE(valid, fmt::format("input \"{}\": not valid UTF-8 without NUL", name));
    i += size;
  }
}

// [1], [N] or, as batching clients send, [1, N] and [N, 1].
void require_list(const OipTensor& tensor, int64_t expected) {
  const int64_t count = num_elements(tensor);
  const bool is_list = tensor.shape.size() == 1 ||
                       (tensor.shape.size() == 2 && (tensor.shape[0] == 1 || tensor.shape[1] == 1));
  US_REQUIRE(
      is_list && (expected < 0 || count == expected),
      fmt::format("input \"{}\": shape: expected [{}], got {} dimensions with {} elements", tensor.name,
                  expected < 0 ? "N" : std::to_string(expected), tensor.shape.size(), count));
}

const std::string& one_text(const OipTensor& tensor) {
  US_REQUIRE(tensor.datatype == "BYTES",
             fmt::format("input \"{}\": datatype: expected BYTES, got {}", tensor.name, tensor.datatype));
  require_list(tensor, 1);
  require_text(tensor.texts[0], tensor.name);
  return tensor.texts[0];
}

void read_context(const std::string& text, std::string_view search_domain, runtime::RawRequest& request) {
  const json::Value context = json::parse(text, "input \"context\"");
  // The same reader as the rank API's.
  const json::Value body = {{"context", context}, {"items", {{"ids", json::Value::array()}}}};
  const runtime::RawRequest read = runtime::raw_request_from_json(body, search_domain, "input \"context\"");
  request.domain = read.domain;
  request.ts_ms = read.ts_ms;
  request.context = read.context;
}

// The type in which the model reads an item feature; String if it does not.
schema::ValueType type_of(const feature::FeatureSpec& spec, std::string_view name) {
  for (const feature::Feature& feature : spec.features()) {
    const std::string_view source = feature.source;
    if (feature.side == feature::Side::Candidate && source.substr(source.find('.') + 1) == name)
      return feature.value_type;
  }
  return schema::ValueType::String;
}

std::vector<runtime::RawValue> values_of(const OipTensor& tensor, schema::ValueType type) {
  std::vector<runtime::RawValue> values;
  for (const std::string& text : tensor.texts) {
    require_text(text, tensor.name);
    values.push_back(runtime::RawValue::of(text));
  }
  for (int64_t integer : tensor.integers) values.push_back(runtime::RawValue::of(integer));
  for (double number : tensor.numbers) {
    constexpr double kExact = 9007199254740992.0;  // 2^53
    US_REQUIRE(!std::isinf(number), fmt::format("input \"{}\": expected finite numbers or NaN", tensor.name));
    if (std::isnan(number)) {
      values.push_back({});  // missing
    } else if (type == schema::ValueType::Int && number == std::floor(number) && std::abs(number) <= kExact) {
      values.push_back(runtime::RawValue::of(static_cast<int64_t>(number)));
    } else {
      values.push_back(runtime::RawValue::of(number));
    }
  }
  return values;
}

}  // namespace

int64_t num_elements(const OipTensor& tensor) {
  US_REQUIRE(tensor.shape.size() <= kMaxDimensions,
             fmt::format("input \"{}\": shape: expected at most {} dimensions, got {}", tensor.name,
                         kMaxDimensions, tensor.shape.size()));
  int64_t count = 1;
  for (int64_t size : tensor.shape) {
    US_REQUIRE(size >= 0,
               fmt::format("input \"{}\": shape: expected sizes of at least 0, got {}", tensor.name, size));
    US_REQUIRE(!__builtin_mul_overflow(count, size, &count) && count <= kMaxElements,
               fmt::format("input \"{}\": shape: too many elements", tensor.name));
  }
  return count;
}

void read_raw(std::string_view bytes, OipTensor& tensor) {
  require_datatype(tensor);
  const int64_t count = num_elements(tensor);
  if (tensor.datatype == "BYTES") return read_texts(bytes, count, tensor);
  if (tensor.datatype == "FP32") return read_numbers<float>(bytes, count, tensor.name, tensor.numbers);
  if (tensor.datatype == "FP64") return read_numbers<double>(bytes, count, tensor.name, tensor.numbers);
  if (tensor.datatype == "INT32") return read_numbers<int32_t>(bytes, count, tensor.name, tensor.integers);
  read_numbers<int64_t>(bytes, count, tensor.name, tensor.integers);
}

void read_json(const json::Value& data, OipTensor& tensor) {
  require_datatype(tensor);
  const int64_t count = num_elements(tensor);
  US_REQUIRE(data.is_array(),
             fmt::format("input \"{}\": data: expected an array, got {}", tensor.name, data.type_name()));
  flatten(data, tensor);
  US_REQUIRE(static_cast<int64_t>(num_values(tensor)) == count,
             fmt::format("input \"{}\": data: expected {} elements, got {}", tensor.name, count,
                         num_values(tensor)));
}

RankInput rank_input_of(const OipRequest& request, const ServedModel& model, const Options& options) {
  const feature::FeatureSpec& spec = model.ranker->spec();
  RankInput input;
  runtime::RawRequest& raw = input.request;
  raw.request_id = request.id;
  raw.domain = spec.search_domain();
  input.deadline_ms =
      request.timeout_us > 0 ? std::max<int64_t>(1, request.timeout_us / 1000) : options.default_deadline.ms;
  std::set<std::string> seen;
  for (const OipTensor& tensor : request.inputs) {
    US_REQUIRE(seen.insert(tensor.name).second, fmt::format("input \"{}\": given twice", tensor.name));
    if (tensor.name == "user_id") {
      raw.user_id = one_text(tensor);
    } else if (tensor.name == "query") {
      raw.query = one_text(tensor);
    } else if (tensor.name == "context") {
      read_context(one_text(tensor), spec.search_domain(), raw);
    } else if (tensor.name == "item_ids") {
      US_REQUIRE(tensor.datatype == "BYTES",
                 fmt::format("input \"item_ids\": datatype: expected BYTES, got {}", tensor.datatype));
      require_list(tensor, -1);
      for (const std::string& id : tensor.texts)
        if (id.find('\0') == std::string::npos) require_text(id, tensor.name);
      raw.item_ids = tensor.texts;
    } else if (!tensor.name.starts_with(kFeature)) {
      throw base::UserError(
          fmt::format("unknown input \"{}\" (expected user_id, query, context, item_ids or feature.<name>)",
                      tensor.name));
    }
  }
  US_REQUIRE(seen.contains("item_ids"), "inputs: expected \"item_ids\"");
  for (const OipTensor& tensor : request.inputs) {
    if (!tensor.name.starts_with(kFeature)) continue;
    require_list(tensor, static_cast<int64_t>(raw.item_ids.size()));
    const std::string name = tensor.name.substr(kFeature.size());
    raw.items[name] = values_of(tensor, type_of(spec, name));
  }
  outputs_of(request);
  return input;
}

std::vector<OipOutput> outputs_of(const OipRequest& request) {
  if (request.outputs.empty()) return {{"scores"}, {"order"}};
  for (const OipOutput& output : request.outputs) {
    US_REQUIRE(output.name == "scores" || output.name == "order",
               fmt::format("unknown output \"{}\" (expected scores or order)", output.name));
  }
  return request.outputs;
}

std::string raw_output(const Ranking& ranking, const std::string& name) {
  std::string out(ranking.scores.size() * 4, '\0');
  if (name == "scores") {
    for (size_t i = 0; i < ranking.scores.size(); ++i) {
      const auto score = static_cast<float>(ranking.scores[i]);
      std::memcpy(out.data() + i * 4, &score, 4);
    }
    return out;
  }
  const std::vector<int32_t> order = ranking.order();
  std::memcpy(out.data(), order.data(), out.size());
  return out;
}

std::string_view output_datatype(const std::string& name) { return name == "scores" ? "FP32" : "INT32"; }

std::vector<OipTensorInfo> input_infos(const ServedModel& model) {
  std::vector<OipTensorInfo> infos = {{"user_id", "BYTES", {1}},
                                      {"query", "BYTES", {1}},
                                      {"context", "BYTES", {1}},
                                      {"item_ids", "BYTES", {-1}}};
  std::set<std::string> seen;
  for (const feature::Feature& feature : model.ranker->spec().features()) {
    const std::string& source = feature.source;
    if (!source.starts_with("item.") && !source.starts_with("candidate.")) continue;
    const std::string name = std::string(kFeature) + source.substr(source.find('.') + 1);
    if (!seen.insert(name).second) continue;
    infos.push_back({name,
                     feature.value_type == schema::ValueType::String   ? "BYTES"
                     : feature.value_type == schema::ValueType::Double ? "FP32"
                                                                       : "INT64",
                     {-1}});
  }
  return infos;
}

std::vector<OipTensorInfo> output_infos() { return {{"scores", "FP32", {-1}}, {"order", "INT32", {-1}}}; }

std::string platform_of(const ServedModel& model) { return "uniscale_" + model.manifest.architecture; }

}  // namespace uniscale::serve
