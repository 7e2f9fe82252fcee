#include "serve/compression.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.h"
#include "serve/http_message.h"

namespace uniscale::serve {
namespace {

constexpr int kZlibOrGzip = 15 + 32, kGzip = 15 + 16, kZlib = 15, kBare = -15;

enum class Outcome { Whole, Broken, TooLarge };

Outcome inflate_all(std::string_view body, int window_bits, int64_t max_bytes, std::string& out) {
  z_stream stream{};
  US_CHECK(inflateInit2(&stream, window_bits) == Z_OK, "zlib");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  std::array<char, 65536> buffer;
  out.clear();
  while (true) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END) return Outcome::Broken;
    const size_t size = buffer.size() - stream.avail_out;
    if (static_cast<int64_t>(out.size() + size) > max_bytes) return Outcome::TooLarge;
    out.append(buffer.data(), size);
    if (code == Z_STREAM_END) return stream.avail_in == 0 ? Outcome::Whole : Outcome::Broken;
    if (size == 0 && stream.avail_in == 0) return Outcome::Broken;  // cut off
  }
}

}  // namespace

std::string unpack(std::string body, std::string_view encoding, int64_t max_bytes) {
  if (encoding.empty() || encoding == "identity") return body;
  if (encoding != "gzip" && encoding != "x-gzip" && encoding != "deflate") {
    throw Refusal{415, "unsupported_media_type", "expected Content-Encoding gzip or deflate"};
  }
  std::string out;
  Outcome outcome = inflate_all(body, kZlibOrGzip, max_bytes, out);
  if (outcome == Outcome::Broken && encoding == "deflate") outcome = inflate_all(body, kBare, max_bytes, out);
  if (outcome == Outcome::TooLarge) {
    throw Refusal{413, "body_too_large",
                  fmt::format("body: expected at most {} bytes once unpacked", max_bytes)};
  }
  if (outcome == Outcome::Broken)
    throw Refusal{400, "invalid_request", fmt::format("body: not valid {} data", encoding)};
  return out;
}

std::string accepted_encoding(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    std::string one(accept_encoding.substr(0, comma));
    accept_encoding.remove_prefix(comma == std::string_view::npos ? accept_encoding.size() : comma + 1);
    one.erase(std::remove(one.begin(), one.end(), ' '), one.end());
    const std::string name = one.substr(0, one.find(';'));
    const bool refused = one.ends_with(";q=0") || one.ends_with(";q=0.0");
    if (!refused && (name == "gzip" || name == "deflate")) return name;
  }
  return "";
}

std::string pack(std::string_view body, std::string_view encoding) {
  z_stream stream{};
  constexpr int kLevel = 1, kMemory = 8;
  US_CHECK(deflateInit2(&stream, kLevel, Z_DEFLATED, encoding == "gzip" ? kGzip : kZlib, kMemory,
                        Z_DEFAULT_STRATEGY) == Z_OK,
           "zlib");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, deflateEnd);
  std::string out(deflateBound(&stream, body.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  US_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib");
  out.resize(out.size() - stream.avail_out);
  return out;
}

}  // namespace uniscale::serve
