#include "train/step_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace uniscale::train {
namespace {

constexpr size_t kSmallest = size_t{1} << 16;
constexpr size_t kHugePage = size_t{1} << 21;

void free_block(void* data);

// torch keeps a pointer to it for ever, so that it is never destroyed.
class BlockAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    if (n < kSmallest) {
      void* data = c10::GetDefaultCPUAllocator()->raw_allocate(n);
      return {data, data, &free_block, c10::Device(c10::DeviceType::CPU)};
    }
    // Sizes a sixteenth apart at most, so that a batch a little larger than the last one fits.
    size_t step = kSmallest;
    while (step * 16 < n) step *= 2;
    const size_t size = (n + step - 1) / step * step;
    void* data = take(size);
    return {data, data, &free_block, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

  void give(void* data) {
    std::unique_lock lock(mutex_);
    const auto it = size_of_.find(data);
    if (it == size_of_.end()) {  // a small one
      lock.unlock();
      c10::GetDefaultCPUAllocator()->raw_deallocate(data);
    } else if (num_users_ > 0) {
      free_[it->second].push_back(data);
    } else {
      ::munmap(data, it->second);
      size_of_.erase(it);
    }
  }
  void enter() {
    const std::scoped_lock lock(mutex_);
    if (num_users_++ == 0) c10::SetCPUAllocator(this);
  }
  void leave() {
    const std::scoped_lock lock(mutex_);
    if (--num_users_ > 0) return;
    c10::SetCPUAllocator(c10::GetDefaultCPUAllocator());
    for (const auto& [size, blocks] : free_) {
      for (void* data : blocks) {
        size_of_.erase(data);
        ::munmap(data, size);
      }
    }
    free_.clear();
  }

 private:
  void* take(size_t size) {
    const std::scoped_lock lock(mutex_);
    if (const auto it = free_.find(size); it != free_.end() && !it->second.empty()) {
      void* data = it->second.back();
      it->second.pop_back();
      return data;
    }
    void* data = map(size);
    size_of_[data] = size;
    return data;
  }
  static void* map(size_t size) {
    // Aligned to a huge page: map more, cut the ends off.
    const size_t more = size >= kHugePage ? kHugePage : 0;
    void* whole = ::mmap(nullptr, size + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) throw std::bad_alloc();
    if (more == 0) return whole;
    const auto begin = reinterpret_cast<uintptr_t>(whole);
    const uintptr_t at = (begin + kHugePage - 1) / kHugePage * kHugePage;
    if (at > begin) ::munmap(whole, at - begin);
    const uintptr_t end = begin + size + more;
    if (end > at + size) ::munmap(reinterpret_cast<void*>(at + size), end - at - size);
    auto* data = reinterpret_cast<void*>(at);
    ::madvise(data, size, MADV_HUGEPAGE);  // a wish
    return data;
  }

  std::mutex mutex_;
  int num_users_ = 0;
  std::unordered_map<void*, size_t> size_of_;
  std::map<size_t, std::vector<void*>> free_;  // by size
};

BlockAllocator& allocator() {
  static auto* one = new BlockAllocator;
  return *one;
}

void free_block(void* data) { allocator().give(data); }

}  // namespace

StepMemory::StepMemory() { allocator().enter(); }
StepMemory::~StepMemory() { allocator().leave(); }

}  // namespace uniscale::train
