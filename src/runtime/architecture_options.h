// Reads `architecture_options` of a bundle's manifest: hostile input, so everything has a limit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json/json.h"

namespace uniscale::runtime {

inline constexpr int64_t kMaxWidth = 65536;

class ArchitectureOptions {
 public:
  // `where` begins every error.
  ArchitectureOptions(const json::Value& options, std::string where)
      : options_(options), where_(std::move(where)) {}
  // A whole number in low … high.
  int64_t number(const char* key, int64_t low, int64_t high) const;
  int64_t width(const char* key) const { return number(key, 1, kMaxWidth); }
  // At most 64 widths, at least `fewest`.
  std::vector<int64_t> widths(const char* key, size_t fewest) const;
  bool flag(const char* key) const;
  // One of `choices`.
  std::string choice(const char* key, const std::vector<std::string>& choices) const;
  std::vector<std::string> texts(const char* key) const;
  // Heads of the model: 1 … 3, "click" first.
  std::vector<std::string> tasks() const;
  const std::string& where() const { return where_; }

 private:
  const json::Value& options_;
  std::string where_;
};

}  // namespace uniscale::runtime
