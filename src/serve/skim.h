// What admission needs of a JSON body before anybody pays for reading it: a shallow scan that allocates next
// to nothing. It believes what it finds and never fails; the real reader, on a scoring thread, has the last
// word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace uniscale::serve {

struct Skim {
  std::string request_id;  // empty if absent, escaped or over 256 bytes
  std::string model;       // likewise
  double deadline_ms = 0;  // 0: none found
  int64_t num_items = 0;   // elements of the list
};

// `list`: where the candidates stand: "items.ids", or a member of the top level such as "documents".
Skim skim(std::string_view body, std::string_view list);

}  // namespace uniscale::serve
