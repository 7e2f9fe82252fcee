#include "serve/work_queue.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace uniscale::serve {
namespace {

using std::chrono::nanoseconds;

int64_t ns_between(WorkQueue::TimePoint from, WorkQueue::TimePoint to) {
  return std::chrono::duration_cast<nanoseconds>(to - from).count();
}

// Time left until a sixteenth of the deadline before it: predictions are means, and the reply has its way to
// go.
int64_t usable_ns(const WorkQueue::Work& work, WorkQueue::TimePoint now) {
  return ns_between(now, work.deadline) - ns_between(work.arrived, work.deadline) / 16;
}

double units(int64_t candidates, bool is_first_chunk) {
  return static_cast<double>(candidates) + (is_first_chunk ? CostEstimate::kRequestCandidates : 0.0);
}

}  // namespace

void CostEstimate::Mean::add(double value) {
  constexpr int64_t kMemory = 32;  // the newest 1/32 each, after a plain mean of the first 32
  observations = std::min(observations + 1, kMemory);
  per_candidate_ns += (value - per_candidate_ns) / static_cast<double>(observations);
}

int64_t CostEstimate::nanoseconds(const std::string& model, int64_t candidates, bool is_first_chunk) const {
  const auto it = by_model_.find(model);
  const Mean& mean = it == by_model_.end() ? all_ : it->second;
  return static_cast<int64_t>(mean.per_candidate_ns * units(candidates, is_first_chunk));
}

void CostEstimate::observe(const std::string& model, int64_t candidates, bool is_first_chunk,
                           int64_t nanoseconds) {
  const double count = units(candidates, is_first_chunk);
  if (count <= 0) return;
  const double value = static_cast<double>(nanoseconds) / count;
  by_model_[model].add(value);
  all_.add(value);
}

void WorkQueue::predict(Work& work) const {
  const int64_t chunk = std::min(work.candidates, limits_.chunk_candidates);
  work.chunk_ns = cost_.nanoseconds(work.model, chunk, !work.is_started);
  work.cost_ns = cost_.nanoseconds(work.model, work.candidates, !work.is_started);
}

int64_t WorkQueue::predicted_wait_ns(const std::string& model, int64_t candidates, TimePoint now) const {
  int64_t running = 0;
  for (const Running& one : running_)
    running += std::max<int64_t>(0, one.cost_ns - ns_between(one.since, now));
  int64_t ahead = fresh_ns_ + started_ns_ + running;
  if (candidates <= limits_.chunk_candidates) {
    // Its turn comes after the first chunks of the fresh and, in turn with them, as many chunks of the
    // started.
    const int64_t turns = static_cast<int64_t>(fresh_.size()) + limits_.num_workers;
    const int64_t chunk = cost_.nanoseconds(model, limits_.chunk_candidates, false);
    ahead = std::min(ahead, fresh_chunk_ns_ + std::min(started_ns_ + running, turns * chunk));
  }
  return ahead / limits_.num_workers;
}

Admission WorkQueue::offer(Work work, TimePoint now) {
  if (num_work_ >= limits_.max_work) return Admission::Full;
  if (num_work_ > 0 && num_candidates_ + work.candidates > limits_.max_candidates) return Admission::Full;
  work.is_started = false;
  predict(work);
  if (work.deadline != kNoDeadline && num_work_ > 0 &&
      usable_ns(work, now) < predicted_wait_ns(work.model, work.candidates, now) + work.cost_ns) {
    return Admission::WouldBeLate;
  }
  ++num_work_;
  num_candidates_ += work.candidates;
  fresh_ns_ += work.cost_ns;
  fresh_chunk_ns_ += work.chunk_ns;
  fresh_.push_back(std::move(work));
  return Admission::Admitted;
}

bool WorkQueue::is_lost(const Work& work, TimePoint now) const {
  if (work.deadline == kNoDeadline) return false;
  if (now >= work.deadline) return true;
  return num_waiting() > 1 && usable_ns(work, now) < work.cost_ns;
}

WorkQueue::Work WorkQueue::pop(std::deque<Work>& line, bool newest) {
  Work work = std::move(newest ? line.back() : line.front());
  newest ? line.pop_back() : line.pop_front();
  if (&line == &fresh_) {
    fresh_ns_ -= work.cost_ns;
    fresh_chunk_ns_ -= work.chunk_ns;
  } else {
    started_ns_ -= work.cost_ns;
  }
  return work;
}

void WorkQueue::forget(const Work& work) {
  --num_work_;
  num_candidates_ -= work.candidates;
}

WorkQueue::Taken WorkQueue::take(TimePoint now) {
  Taken taken;
  const auto expire = [&](Work work) {
    forget(work);
    taken.expired.push_back(std::move(work));
  };
  for (auto* line : {&fresh_, &started_})
    while (!line->empty() && is_lost(line->front(), now)) expire(pop(*line, false));
  while (num_waiting() > 0) {
    const bool from_started = fresh_.empty() || (started_next_ && !started_.empty());
    bool newest = false;
    if (!from_started) {
      const Work& oldest = fresh_.front();
      newest = oldest.deadline != kNoDeadline &&
               ns_between(oldest.arrived, now) > ns_between(oldest.arrived, oldest.deadline) / 2;
    }
    auto& line = from_started ? started_ : fresh_;
    const bool lost = is_lost(newest ? line.back() : line.front(), now);
    Work work = pop(line, newest);
    if (lost) {
      expire(std::move(work));
      continue;
    }
    // The first chunk of a long request counts as a turn of both lines.
    started_next_ = !from_started && work.candidates <= limits_.chunk_candidates;
    running_.push_back({work.id, work.cost_ns, now});
    taken.work = std::move(work);
    break;
  }
  return taken;
}

void WorkQueue::stop_running(const Work& work) {
  const auto it =
      std::find_if(running_.begin(), running_.end(), [&](const Running& one) { return one.id == work.id; });
  US_CHECK(it != running_.end(), "work that no worker has");
  running_.erase(it);
}

void WorkQueue::put_back(Work work, int64_t candidates) {
  stop_running(work);
  num_candidates_ += candidates - work.candidates;
  work.candidates = candidates;
  work.is_started = true;
  predict(work);
  started_ns_ += work.cost_ns;
  started_.push_back(std::move(work));
}

void WorkQueue::finish(const Work& work) {
  stop_running(work);
  forget(work);
}

std::vector<WorkQueue::Work> WorkQueue::drain() {
  std::vector<Work> out;
  for (auto* line : {&fresh_, &started_}) {
    while (!line->empty()) {
      out.push_back(pop(*line, false));
      forget(out.back());
    }
  }
  return out;
}

}  // namespace uniscale::serve
