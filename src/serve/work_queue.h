// Who is scored next, who is not taken at all (serving.md §5). Pure bookkeeping over work that is named by a
// number: times come in as arguments, so that tests bring their own clock. Not thread-safe: Scheduler holds
// the lock.
//
// Work waits in two lines: fresh work, and started work that has chunks left. A worker that asks is given the
// two in turn, so a long request cannot keep short ones waiting for longer than a chunk each, and short ones
// cannot starve a long one. The fresh line is first in, first out; while its oldest has waited for more than
// half of its deadline, the newest goes first: under sustained overload the old are lost anyhow, and the new
// can still be served in time.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace uniscale::serve {

// Time that work takes, learnt from what it took: by model, a moving mean of nanoseconds per candidate. A
// request counts kRequestCandidates more than it has, for what does not grow with its list.
class CostEstimate {
 public:
  static constexpr double kRequestCandidates = 16;
  // 0 while nothing was observed: nothing of that model, and nothing at all.
  int64_t nanoseconds(const std::string& model, int64_t candidates, bool is_first_chunk) const;
  void observe(const std::string& model, int64_t candidates, bool is_first_chunk, int64_t nanoseconds);

 private:
  struct Mean {
    double per_candidate_ns = 0;
    int64_t observations = 0;
    void add(double value);
  };
  std::map<std::string, Mean> by_model_;
  Mean all_;
};

enum class Admission { Admitted, Full, WouldBeLate };

class WorkQueue {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr TimePoint kNoDeadline = TimePoint::max();

  struct Limits {
    int num_workers = 1;
    int64_t max_work = 256;           // waiting and running
    int64_t max_candidates = 65'536;  // waiting and running; one request alone is always taken
    int64_t chunk_candidates = 512;
  };
  struct Work {
    uint64_t id = 0;
    std::string model;
    int64_t candidates = 0;  // left to score
    TimePoint arrived, deadline = kNoDeadline;
    bool is_started = false;
    int64_t cost_ns = 0, chunk_ns = 0;  // predicted for what is left, and for its next chunk
  };
  // What a worker is given, and what expired on the way to it.
  struct Taken {
    std::optional<Work> work;
    std::vector<Work> expired;
  };

  explicit WorkQueue(const Limits& limits) : limits_(limits) {}

  // Fresh work; its cost is predicted here. Unless Admitted, nothing is kept. WouldBeLate: the predicted wait
  // and cost together pass the deadline; never said while nothing waits or runs, so that a wrong estimate
  // corrects itself.
  Admission offer(Work work, TimePoint now);
  // The next piece of work; the caller runs one chunk and then calls put_back or finish. Work whose deadline
  // has passed, or cannot be met while other work waits, is handed out as expired.
  Taken take(TimePoint now);
  // One chunk of `work` was run; `candidates` are left.
  void put_back(Work work, int64_t candidates);
  // `work`, given by take, is done or was given up.
  void finish(const Work& work);
  // Everything that waits, to be refused.
  std::vector<Work> drain();

  // How long a request of that many candidates, offered now, would wait for others.
  int64_t predicted_wait_ns(const std::string& model, int64_t candidates, TimePoint now) const;
  CostEstimate& cost() { return cost_; }
  // Waiting and running.
  int64_t num_work() const { return num_work_; }
  int64_t num_candidates() const { return num_candidates_; }
  int64_t num_waiting() const { return static_cast<int64_t>(fresh_.size() + started_.size()); }

 private:
  struct Running {
    uint64_t id = 0;
    int64_t cost_ns = 0;
    TimePoint since;
  };
  void predict(Work& work) const;
  bool is_lost(const Work& work, TimePoint now) const;
  Work pop(std::deque<Work>& line, bool newest);
  void stop_running(const Work& work);
  void forget(const Work& work);

  Limits limits_;
  CostEstimate cost_;
  std::deque<Work> fresh_, started_;
  std::vector<Running> running_;
  bool started_next_ = false;
  int64_t num_work_ = 0, num_candidates_ = 0;
  int64_t fresh_ns_ = 0, fresh_chunk_ns_ = 0, started_ns_ = 0;  // sums over the lines
};

}  // namespace uniscale::serve
