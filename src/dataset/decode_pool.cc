#include "dataset/detail/decode_pool.h"

#include <algorithm>
#include <utility>

namespace uniscale::dataset {

DecodePool::DecodePool(int num_threads) {
  for (int i = 0; i < std::max(num_threads, 1); ++i) threads_.emplace_back([this] { work(); });
}

DecodePool::~DecodePool() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    waiting_.clear();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

GroupFuture DecodePool::submit(std::function<std::shared_ptr<const RowGroup>()> decode) {
  std::packaged_task<std::shared_ptr<const RowGroup>()> task(std::move(decode));
  GroupFuture future = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(task));
  }
  wake_.notify_one();
  return future;
}

void DecodePool::work() {
  for (;;) {
    std::packaged_task<std::shared_ptr<const RowGroup>()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return is_stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    task();
  }
}

}  // namespace uniscale::dataset
