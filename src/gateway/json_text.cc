#include "gateway/json_text.h"

#include "json/json.h"

namespace uniscale::gateway {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

// Behind the string that begins at `at`.
size_t skip_string(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at + 1;
}

// Behind the value that begins at `at`.
size_t skip_value(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  if (text[at] == '"') return skip_string(text, at);
  if (text[at] != '{' && text[at] != '[') {
    while (at < text.size() && text[at] != ',' && text[at] != '}' && text[at] != ']' && !is_space(text[at]))
      ++at;
    return at;
  }
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
    if (depth == 0) break;
  }
  return at;
}

bool names(std::string_view quoted, std::string_view name) {
  const std::string_view inner = quoted.substr(1, quoted.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return inner == name;
  return json::parse(quoted, "a member's name").get<std::string>() == name;
}

}  // namespace

std::vector<TextMember> object_members(std::string_view text, size_t at, size_t& inside) {
  std::vector<TextMember> members;
  at = skip_spaces(text, at);
  if (at >= text.size() || text[at] != '{') return members;
  inside = ++at;
  while ((at = skip_spaces(text, at)) < text.size() && text[at] == '"') {
    TextMember member;
    member.name = {at, skip_string(text, at)};
    at = skip_spaces(text, member.name.end);
    at = skip_spaces(text, at + 1);  // behind the colon
    member.value = {at, skip_value(text, at)};
    members.push_back(member);
    at = skip_spaces(text, member.value.end);
    if (at < text.size() && text[at] == ',') ++at;
  }
  return members;
}

std::vector<TextRange> array_elements(std::string_view text, TextRange array) {
  std::vector<TextRange> elements;
  size_t at = skip_spaces(text, array.begin);
  if (at >= array.end || text[at] != '[') return elements;
  for (at = skip_spaces(text, at + 1); at < array.end && text[at] != ']';) {
    elements.push_back({at, skip_value(text, at)});
    at = skip_spaces(text, elements.back().end);
    if (at < array.end && text[at] == ',') at = skip_spaces(text, at + 1);
  }
  return elements;
}

std::optional<TextRange> find_value(std::string_view text, const std::vector<std::string_view>& path) {
  TextRange range{skip_spaces(text, 0), text.size()};
  for (const std::string_view name : path) {
    size_t inside = 0;
    std::optional<TextRange> found;
    for (const TextMember& member : object_members(text, range.begin, inside))
      if (!found && names(member.name.of(text), name)) found = member.value;
    if (!found) return {};
    range = *found;
  }
  return range;
}

}  // namespace uniscale::gateway
