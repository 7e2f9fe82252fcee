// Places in the text of a JSON document: what the gateway changes it changes there, byte for byte, so that
// numbers, spaces and members that it knows nothing of stay as they were. For text that json::parse accepted.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace uniscale::gateway {

// Bytes [begin, end) of a document.
struct TextRange {
  size_t begin = 0, end = 0;
  std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
};

struct TextMember {
  TextRange name;  // with its quotes
  TextRange value;
};

// The members of the object that begins at `at` (leading spaces allowed), and the place behind its '{'.
std::vector<TextMember> object_members(std::string_view text, size_t at, size_t& inside);
// The elements of the array in `array`.
std::vector<TextRange> array_elements(std::string_view text, TextRange array);
// The value behind a path of member names; empty if there is none.
std::optional<TextRange> find_value(std::string_view text, const std::vector<std::string_view>& path);

}  // namespace uniscale::gateway
