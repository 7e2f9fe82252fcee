#include "runtime/workspace.h"

#include <algorithm>

namespace uniscale::runtime {

void Arena::add_block(size_t size) {
  // A fifth more: batches that grow a little do not grow the memory each time.
  size += size / 5 + 4096;
  blocks_.push_back({std::unique_ptr<std::byte[], Free>(
                         static_cast<std::byte*>(::operator new[](size, std::align_val_t{64}))),
                     size});
  ++num_growths_;
}

void* Arena::take_bytes(size_t size) {
  size = (size + 63) / 64 * 64;
  while (at_.block < blocks_.size() && at_.used + size > blocks_[at_.block].size) {
    ++at_.block;
    at_.used = 0;
  }
  if (at_.block == blocks_.size())
    add_block(std::max(size, blocks_.empty() ? size_t{0} : blocks_.back().size));
  void* taken = blocks_[at_.block].bytes.get() + at_.used;
  at_.used += size;
  return taken;
}

void Arena::reset() {
  at_ = {};
  if (blocks_.size() < 2) return;
  size_t total = 0;
  for (const Block& block : blocks_) total += block.size;
  blocks_.clear();
  add_block(total);
}

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;
int64_t Workspace::num_growths() const {
  return impl_->arena.num_growths() + impl_->state.impl().arena.num_growths();
}

RequestState::RequestState() : impl_(std::make_unique<Impl>()) {}
RequestState::~RequestState() = default;
RequestState::RequestState(RequestState&&) noexcept = default;
RequestState& RequestState::operator=(RequestState&&) noexcept = default;

}  // namespace uniscale::runtime
