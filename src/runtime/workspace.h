// Memory of one scoring thread and of one request's state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "runtime/ranker.h"

namespace uniscale::runtime {

// Hands out 64-byte aligned pieces one after the other; `rewind` gives back everything since a mark. Grows
// when a batch needs more than any before, and otherwise allocates nothing. Contents are whatever they were.
class Arena {
 public:
  struct Mark {
    size_t block = 0, used = 0;
  };
  // `count` values of a trivial T.
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  std::byte* take_bytes(int64_t count) {
    return static_cast<std::byte*>(take_bytes(static_cast<size_t>(count)));
  }
  Mark mark() const { return at_; }
  void rewind(Mark mark) { at_ = mark; }
  // Forgets everything; blocks that one batch needed become one block for the next.
  void reset();
  int64_t num_growths() const { return num_growths_; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete[](bytes, std::align_val_t{64}); }
  };
  struct Block {
    std::unique_ptr<std::byte[], Free> bytes;
    size_t size = 0;
  };
  void* take_bytes(size_t size);
  void add_block(size_t size);
  std::vector<Block> blocks_;
  Mark at_;
  int64_t num_growths_ = 0;
};

// Gives back what was taken in a scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.rewind(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

struct RequestState::Impl {
  Arena arena;
  std::vector<void*> parts;  // what they are, the ranker knows
  int64_t num_requests = 0;
};

struct Workspace::Impl {
  Arena arena;
  RequestState state;
};

}  // namespace uniscale::runtime
