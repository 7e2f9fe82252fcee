// The addresses of engines and servers, and the parameters of a search.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace uniscale::gateway {

struct Url {
  std::string host, port;
  bool is_tls = false;
  std::string prefix;  // path before every target, without a '/' at its end
};
// "http://host[:port][/prefix]" or https; throws UserError naming `key` otherwise.
Url parse_url(const std::string& text, const std::string& key);

// Path and query string of a target; parameters keep their order and their raw text.
struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> parameters;  // as written, still encoded
  // Decoded value of the last parameter of this name, or "".
  std::string value(std::string_view name) const;
  bool has(std::string_view name) const;
  // Removes every parameter of the name.
  void remove(std::string_view name);
  // Replaces it; the value is encoded.
  void set(std::string_view name, std::string_view value);
  std::string text() const;
};
Target parse_target(std::string_view text);
// The same for a form body, which has no path.
Target parse_form(std::string_view text);
std::string form_text(const Target& form);

}  // namespace uniscale::gateway
