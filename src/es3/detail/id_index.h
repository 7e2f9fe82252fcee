// Byte strings → small numbers in order of first appearance: open addressing on a 64-bit hash, equality by
// bytes. Not thread-safe while it grows; reading from many threads is safe. The bytes belong to the caller.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace uniscale::es3 {

class IdIndex {
 public:
  int32_t size() const { return static_cast<int32_t>(ids_.size()); }
  std::string_view id(int32_t number) const { return ids_[static_cast<size_t>(number)]; }

  // -1 if absent.
  int32_t find(std::string_view id) const {
    if (slots_.empty()) return -1;
    const uint64_t hash = base::hash_bytes(id, 0);
    for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
      const Slot& entry = slots_[slot];
      if (entry.number < 0) return -1;
      if (entry.hash == hash && ids_[static_cast<size_t>(entry.number)] == id) return entry.number;
    }
  }

  int32_t insert(std::string_view id) {
    if ((ids_.size() + 1) * 2 > slots_.size()) grow();
    const uint64_t hash = base::hash_bytes(id, 0);
    for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
      Slot& entry = slots_[slot];
      if (entry.number < 0) {
        entry = {hash, size()};
        ids_.push_back(id);
        return entry.number;
      }
      if (entry.hash == hash && ids_[static_cast<size_t>(entry.number)] == id) return entry.number;
    }
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    int32_t number = -1;
  };

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
    old.swap(slots_);
    mask_ = slots_.size() - 1;
    for (const Slot& entry : old) {
      if (entry.number < 0) continue;
      size_t slot = entry.hash & mask_;
      while (slots_[slot].number >= 0) slot = (slot + 1) & mask_;
      slots_[slot] = entry;
    }
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  std::vector<std::string_view> ids_;
};

}  // namespace uniscale::es3
