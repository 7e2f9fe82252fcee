// A fixed number of threads that decode row groups in the order asked for. Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "dataset/detail/row_group.h"

namespace uniscale::dataset {

using GroupFuture = std::future<std::shared_ptr<const RowGroup>>;

class DecodePool {
 public:
  explicit DecodePool(int num_threads);
  // Waits for what runs; what waits is dropped.
  ~DecodePool();
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  GroupFuture submit(std::function<std::shared_ptr<const RowGroup>()> decode);
  int num_threads() const { return static_cast<int>(threads_.size()); }

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<std::shared_ptr<const RowGroup>()>> waiting_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace uniscale::dataset
