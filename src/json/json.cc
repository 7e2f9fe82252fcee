#include "json/json.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace uniscale::json {
namespace {

void require_finite(const Value& value) {
  if (value.is_number_float()) {
    US_CHECK(std::isfinite(value.get<double>()), "a number that JSON cannot hold");
  } else if (value.is_structured()) {
    for (const auto& child : value) require_finite(child);
  }
}

// Writing and freeing a value recurse: nesting is limited before anything is
// built.
void require_shallow(std::string_view text, std::string_view where) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) {
        throw base::UserError(
            fmt::format("{}: JSON nested deeper than {} levels at byte {}", where, kMaxDepth, i));
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

[[noreturn]] void wrong_type(std::string_view where, std::string_view key, std::string_view want,
                             const Value& got) {
  throw base::UserError(fmt::format("{}: {}: expected {}, got {}", where, key, want, got.type_name()));
}

}  // namespace

Value parse(std::string_view text, std::string_view where) {
  require_shallow(text, where);
  // One set of names for every object that is open: a name that stands twice
  // has no single meaning.
  std::vector<std::unordered_set<std::string>> open_objects;
  const auto on_event = [&](int, Value::parse_event_t event, const Value& parsed) {
    if (event == Value::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Value::parse_event_t::object_end) open_objects.pop_back();
    if (event == Value::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      auto& names = open_objects.back();
      if (!names.insert(name).second)
        throw base::UserError(
            fmt::format("{}: not valid JSON: the name \"{}\" stands twice in one object", where, name));
      if (names.size() > kMaxNames)
        throw base::UserError(fmt::format("{}: JSON object with more than {} names", where, kMaxNames));
    }
    return true;
  };
  try {
    return Value::parse(text, on_event);
  } catch (const nlohmann::json::exception& error) {
    throw base::UserError(fmt::format("{}: not valid JSON: {}", where, error.what()));
  }
}

Value parse_file(const std::string& path) { return parse(base::read_file(path), path); }

std::string dump(const Value& value, int indent) {
  require_finite(value);
  return value.dump(indent, ' ', false, Value::error_handler_t::replace);
}

std::string number_text(double value) {
  US_CHECK(std::isfinite(value), "a number that JSON cannot hold");
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

const Value& member(const Value& object, std::string_view key, std::string_view where) {
  if (!object.is_object())
    throw base::UserError(fmt::format("{}: expected an object, got {}", where, object.type_name()));
  const auto it = object.find(std::string(key));
  if (it == object.end()) throw base::UserError(fmt::format("{}: {}: missing", where, key));
  return *it;
}

std::string string_member(const Value& object, std::string_view key, std::string_view where) {
  const Value& value = member(object, key, where);
  if (!value.is_string()) wrong_type(where, key, "a string", value);
  return value.get<std::string>();
}

int64_t int_member(const Value& object, std::string_view key, std::string_view where) {
  const Value& value = member(object, key, where);
  if (!value.is_number_integer()) wrong_type(where, key, "an integer", value);
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw base::UserError(
        fmt::format("{}: {}: expected an integer of 64 bits, got {}", where, key, value.get<uint64_t>()));
  }
  return value.get<int64_t>();
}

double double_member(const Value& object, std::string_view key, std::string_view where) {
  const Value& value = member(object, key, where);
  if (!value.is_number()) wrong_type(where, key, "a number", value);
  return value.get<double>();
}

bool bool_member(const Value& object, std::string_view key, std::string_view where) {
  const Value& value = member(object, key, where);
  if (!value.is_boolean()) wrong_type(where, key, "true or false", value);
  return value.get<bool>();
}

}  // namespace uniscale::json
