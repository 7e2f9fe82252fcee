#include "text/normalise.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/error.h"

namespace uniscale::text {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// Unicode property White_Space.
bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Decodes one code point at `cursor` and moves on; a byte that starts no valid sequence is one kReplacement.
char32_t next_code_point(std::string_view bytes, size_t& cursor, bool* valid = nullptr) {
  utf8proc_int32_t code_point = -1;
  const auto left = static_cast<utf8proc_ssize_t>(std::min<size_t>(bytes.size() - cursor, 4));
  const utf8proc_ssize_t used =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()) + cursor, left, &code_point);
  if (used <= 0 || code_point < 0) {
    ++cursor;
    if (valid != nullptr) *valid = false;
    return kReplacement;
  }
  cursor += static_cast<size_t>(used);
  return static_cast<char32_t>(code_point);
}

void append_utf8(char32_t code_point, std::string& out) {
  utf8proc_uint8_t buffer[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), buffer);
  out.append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(size));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string normalise_ascii(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool gap = false;
  for (char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      gap = !out.empty();
      continue;
    }
    if (gap) out += ' ';
    gap = false;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  if (is_ascii(bytes)) return true;
  bool valid = true;
  for (size_t cursor = 0; cursor < bytes.size() && valid;) next_code_point(bytes, cursor, &valid);
  return valid;
}

std::string normalise(std::string_view utf8) {
  if (is_ascii(utf8)) return normalise_ascii(utf8);
  // Repair, compose (NFC), then lower-case and collapse code point by code point.
  std::string repaired;
  repaired.reserve(utf8.size());
  for (size_t cursor = 0; cursor < utf8.size();) append_utf8(next_code_point(utf8, cursor), repaired);
  utf8proc_uint8_t* composed = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(repaired.data()),
                   static_cast<utf8proc_ssize_t>(repaired.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  US_CHECK(size >= 0, "NFC of valid UTF-8 failed");
  const std::string_view nfc(reinterpret_cast<const char*>(composed), static_cast<size_t>(size));
  std::string out;
  out.reserve(nfc.size());
  bool gap = false;
  for (size_t cursor = 0; cursor < nfc.size();) {
    const char32_t c = next_code_point(nfc, cursor);
    if (is_white_space(c)) {
      gap = !out.empty();
      continue;
    }
    if (gap) out += ' ';
    gap = false;
    append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
  }
  return out;
}

std::vector<char32_t> code_points(std::string_view normalised) {
  std::vector<char32_t> out;
  out.reserve(normalised.size());
  for (size_t cursor = 0; cursor < normalised.size();) out.push_back(next_code_point(normalised, cursor));
  return out;
}

}  // namespace uniscale::text
