#include "gateway/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace uniscale::gateway {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
               hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.' || c == '~' || c == ',' || c == '*';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

void read_parameters(std::string_view text, Target& out) {
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    if (one.empty()) continue;
    const size_t equals = one.find('=');
    out.parameters.emplace_back(
        std::string(one.substr(0, equals)),
        equals == std::string_view::npos ? std::string() : std::string(one.substr(equals + 1)));
  }
}

}  // namespace

Url parse_url(const std::string& text, const std::string& key) {
  const auto expect = [&](bool ok) {
    US_REQUIRE(ok, fmt::format("{}: expected http://host[:port][/path], or https, got \"{}\"", key, text));
  };
  const size_t scheme_end = text.find("://");
  const std::string scheme = text.substr(0, scheme_end);
  expect(scheme_end != std::string::npos && (scheme == "http" || scheme == "https"));
  std::string_view rest = std::string_view(text).substr(scheme_end + 3);
  Url url;
  url.is_tls = scheme == "https";
  const size_t slash = std::min(rest.find('/'), rest.size());
  url.prefix = std::string(rest.substr(slash));
  while (url.prefix.ends_with('/')) url.prefix.pop_back();
  rest = rest.substr(0, slash);
  expect(rest.find_first_of("@?# \t\r\n") == std::string_view::npos &&
         url.prefix.find_first_of("?# \t\r\n") == std::string::npos);
  // [::1]:9200 has colons inside the brackets.
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos;
  std::string_view host = has_port ? rest.substr(0, colon) : rest;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  url.host = std::string(host);
  url.port = has_port ? std::string(rest.substr(colon + 1)) : url.is_tls ? "443" : "80";
  unsigned number = 0;
  const auto parsed = std::from_chars(url.port.data(), url.port.data() + url.port.size(), number);
  expect(!url.host.empty() && parsed.ec == std::errc() && parsed.ptr == url.port.data() + url.port.size() &&
         number >= 1 && number <= 65535);
  return url;
}

Target parse_target(std::string_view text) {
  Target out;
  const size_t question = std::min(text.find('?'), text.size());
  out.path = std::string(text.substr(0, question));
  if (question < text.size()) read_parameters(text.substr(question + 1), out);
  return out;
}

Target parse_form(std::string_view text) {
  Target out;
  read_parameters(text, out);
  return out;
}

std::string form_text(const Target& form) {
  std::string out;
  for (const auto& [name, value] : form.parameters) {
    if (!out.empty()) out += '&';
    out += name;
    out += '=';
    out += value;
  }
  return out;
}

std::string Target::text() const {
  const std::string query = form_text(*this);
  return query.empty() ? path : path + "?" + query;
}

bool Target::has(std::string_view name) const {
  return std::any_of(parameters.begin(), parameters.end(),
                     [&](const auto& one) { return decoded(one.first) == name; });
}

std::string Target::value(std::string_view name) const {
  std::string out;
  for (const auto& [key, value] : parameters)
    if (decoded(key) == name) out = decoded(value);
  return out;
}

void Target::remove(std::string_view name) {
  std::erase_if(parameters, [&](const auto& one) { return decoded(one.first) == name; });
}

void Target::set(std::string_view name, std::string_view value) {
  remove(name);
  parameters.emplace_back(encoded(name), encoded(value));
}

}  // namespace uniscale::gateway
