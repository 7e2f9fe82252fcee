// Scoring threads over a WorkQueue: what a request costs is done here and nowhere else, a chunk at a time.
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/metrics.h"
#include "serve/work_queue.h"

namespace uniscale::serve {

// One request on its way through the scoring threads; one thread at a time.
class Job {
 public:
  enum class Unserved { Late, Stopped };
  virtual ~Job() = default;
  struct Chunk {
    int64_t candidates = 0;  // of this chunk
    int64_t left = -1;       // in later chunks; −1 once the job replied
    bool is_typical = true;  // false: refused half-way, so its time says nothing about others
  };
  // Runs the next chunk. Replies with the last one.
  virtual Chunk run_chunk() = 0;
  // Replies that it will not be served.
  virtual void give_up(Unserved why) = 0;
};

class Scheduler {
 public:
  Scheduler(const WorkQueue::Limits& limits, Metrics& metrics);
  ~Scheduler() { stop(); }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  using TimePoint = WorkQueue::TimePoint;
  struct Ticket {
    std::string model;
    int64_t candidates = 0;  // as far as is known before the request was read
    TimePoint arrived, deadline = WorkQueue::kNoDeadline;
  };
  // Takes `job` only if Admitted; else the caller replies.
  Admission submit(std::unique_ptr<Job>& job, const Ticket& ticket);
  // Waits for running chunks, gives up everything else; then no thread is left.
  void stop();
  // Gives up everything that waits.
  void drop_waiting();
  int64_t num_work() const;

 private:
  void work();

  Metrics& metrics_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  uint64_t next_id_ = 0;
  WorkQueue queue_;
  std::map<uint64_t, std::unique_ptr<Job>> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace uniscale::serve
