// Names of HTTP headers have no case.
#pragma once

#include <string>
#include <string_view>

#include "serve/http_message.h"

namespace uniscale::gateway {

inline std::string lower_name(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Of the first header whose name in lower case is `lower`, or "".
inline std::string header_value(const serve::HttpHeaders& headers, std::string_view lower) {
  for (const auto& [name, value] : headers)
    if (lower_name(name) == lower) return value;
  return "";
}

}  // namespace uniscale::gateway
