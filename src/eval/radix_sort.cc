#include <array>
#include <cstddef>

#include "eval/detail/score_keys.h"

namespace uniscale::eval {

void radix_sort(std::vector<uint32_t>& keys) {
  constexpr int kBits = 11, kPasses = 3;
  constexpr uint32_t kMask = (1U << kBits) - 1;
  std::array<std::array<std::size_t, kMask + 1>, kPasses> counts{};
  for (uint32_t key : keys) {
    for (int pass = 0; pass < kPasses; ++pass)
      ++counts[static_cast<std::size_t>(pass)][(key >> (pass * kBits)) & kMask];
  }
  std::vector<uint32_t> other(keys.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& count = counts[static_cast<std::size_t>(pass)];
    std::size_t begin = 0;
    bool one_digit = false;
    for (std::size_t& c : count) {
      one_digit = one_digit || c == keys.size();
      const std::size_t size = c;
      c = begin;
      begin += size;
    }
    if (one_digit) continue;  // this digit is the same everywhere
    for (uint32_t key : keys) other[count[(key >> (pass * kBits)) & kMask]++] = key;
    keys.swap(other);
  }
}

}  // namespace uniscale::eval
