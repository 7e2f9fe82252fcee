// Floats as unsigned keys of the same order, and a radix sort of them.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace uniscale::eval {

// Rising floats ⇔ rising keys; −0 and +0 are one value.
inline uint32_t score_key(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// LSD radix sort, 3 passes of 11 bits.
void radix_sort(std::vector<uint32_t>& keys);

}  // namespace uniscale::eval
