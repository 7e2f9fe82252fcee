// gzip and deflate of whole bodies (serving.md §2). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace uniscale::serve {

// `encoding`: "gzip", "x-gzip", "deflate" (zlib or bare), "identity" or "". Throws Refusal: 415 for another
// encoding, 413 for more than `max_bytes` once unpacked, 400 for broken data.
std::string unpack(std::string body, std::string_view encoding, int64_t max_bytes);
// "gzip" or "deflate", whichever `accept_encoding` names first without q=0; "" if neither.
std::string accepted_encoding(std::string_view accept_encoding);
std::string pack(std::string_view body, std::string_view encoding);

}  // namespace uniscale::serve
