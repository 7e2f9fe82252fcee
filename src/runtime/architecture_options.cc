#include "runtime/architecture_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::runtime {
namespace {

int64_t whole_number(const json::Value& value, int64_t low, int64_t high, const std::string& where) {
  US_REQUIRE(value.is_number_integer() && value.get<int64_t>() >= low && value.get<int64_t>() <= high,
             fmt::format("{}: expected a whole number in {} … {}, got {}", where, low, high, value.dump()));
  return value.get<int64_t>();
}

}  // namespace

int64_t ArchitectureOptions::number(const char* key, int64_t low, int64_t high) const {
  return whole_number(json::member(options_, key, where_), low, high, where_ + ": " + key);
}

std::vector<int64_t> ArchitectureOptions::widths(const char* key, size_t fewest) const {
  const json::Value& list = json::member(options_, key, where_);
  US_REQUIRE(list.is_array() && list.size() >= fewest && list.size() <= 64,
             fmt::format("{}: {}: expected an array of {} … 64 widths", where_, key, fewest));
  std::vector<int64_t> widths;
  for (const json::Value& one : list) widths.push_back(whole_number(one, 1, kMaxWidth, where_ + ": " + key));
  return widths;
}

bool ArchitectureOptions::flag(const char* key) const {
  const json::Value& value = json::member(options_, key, where_);
  US_REQUIRE(value.is_boolean(),
             fmt::format("{}: {}: expected true or false, got {}", where_, key, value.dump()));
  return value.get<bool>();
}

std::string ArchitectureOptions::choice(const char* key, const std::vector<std::string>& choices) const {
  const json::Value& value = json::member(options_, key, where_);
  US_REQUIRE(
      value.is_string() &&
          std::find(choices.begin(), choices.end(), value.get<std::string>()) != choices.end(),
      fmt::format("{}: {}: expected one of {}, got {}", where_, key, fmt::join(choices, ", "), value.dump()));
  return value.get<std::string>();
}

std::vector<std::string> ArchitectureOptions::texts(const char* key) const {
  const json::Value& list = json::member(options_, key, where_);
  US_REQUIRE(list.is_array() && list.size() <= 1024, fmt::format("{}: {}: expected an array", where_, key));
  std::vector<std::string> texts;
  for (const json::Value& one : list) {
    US_REQUIRE(one.is_string(), fmt::format("{}: {}: expected strings, got {}", where_, key, one.dump()));
    texts.push_back(one.get<std::string>());
  }
  return texts;
}

std::vector<std::string> ArchitectureOptions::tasks() const {
  std::vector<std::string> tasks = texts("tasks");
  US_REQUIRE(!tasks.empty() && tasks.size() <= 3 && tasks[0] == "click",
             where_ + ": tasks: expected 1 … 3 tasks, \"click\" first");
  return tasks;
}

}  // namespace uniscale::runtime
