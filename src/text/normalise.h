// Text as the rules see it (es3.md, preamble): Unicode NFC, simple lower-case, white space collapsed to
// single blanks and trimmed. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace uniscale::text {

// Bytes that are not UTF-8 become U+FFFD.
std::string normalise(std::string_view utf8);
// Code points of text that is already normalised.
std::vector<char32_t> code_points(std::string_view normalised);
bool is_valid_utf8(std::string_view bytes);

}  // namespace uniscale::text
