#include "serve/scheduler.h"

#include <chrono>
#include <utility>

namespace uniscale::serve {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration span) { return std::chrono::duration<double>(span).count(); }

}  // namespace

Scheduler::Scheduler(const WorkQueue::Limits& limits, Metrics& metrics) : metrics_(metrics), queue_(limits) {
  for (int i = 0; i < limits.num_workers; ++i) threads_.emplace_back([this] { work(); });
}

void Scheduler::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  drop_waiting();
}

Admission Scheduler::submit(std::unique_ptr<Job>& job, const Ticket& ticket) {
  const auto now = Clock::now();
  Admission admission = Admission::Admitted;
  {
    const std::scoped_lock lock(mutex_);
    const uint64_t id = next_id_++;
    admission = queue_.offer({.id = id,
                              .model = ticket.model,
                              .candidates = ticket.candidates,
                              .arrived = ticket.arrived,
                              .deadline = ticket.deadline},
                             now);
    if (admission != Admission::Admitted) return admission;
    jobs_[id] = std::move(job);
    metrics_.queue_waiting = queue_.num_waiting();
    metrics_.queue_candidates = queue_.num_candidates();
  }
  wake_.notify_one();
  return admission;
}

void Scheduler::drop_waiting() {
  std::vector<std::unique_ptr<Job>> dropped;
  {
    const std::scoped_lock lock(mutex_);
    for (const WorkQueue::Work& one : queue_.drain()) {
      dropped.push_back(std::move(jobs_.at(one.id)));
      jobs_.erase(one.id);
    }
  }
  for (const auto& job : dropped) job->give_up(Job::Unserved::Stopped);
}

int64_t Scheduler::num_work() const {
  const std::scoped_lock lock(mutex_);
  return queue_.num_work();
}

void Scheduler::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || queue_.num_waiting() > 0; });
    if (stopping_) return;
    const auto begin = Clock::now();
    WorkQueue::Taken taken = queue_.take(begin);
    metrics_.queue_waiting = queue_.num_waiting();
    std::vector<std::unique_ptr<Job>> late;
    for (const WorkQueue::Work& one : taken.expired) {
      late.push_back(std::move(jobs_.at(one.id)));
      jobs_.erase(one.id);
    }
    std::unique_ptr<Job> job;
    if (taken.work) {
      job = std::move(jobs_.at(taken.work->id));
      jobs_.erase(taken.work->id);
    }
    lock.unlock();
    for (const auto& one : late) one->give_up(Job::Unserved::Late);
    late.clear();
    if (job == nullptr) {
      lock.lock();
      continue;
    }
    const WorkQueue::Work& work = *taken.work;
    if (!work.is_started) metrics_.queue_duration.observe(seconds(begin - work.arrived));
    const auto chunk_begin = Clock::now();
    const Job::Chunk chunk = job->run_chunk();
    const auto took = Clock::now() - chunk_begin;
    if (chunk.left < 0) job.reset();
    lock.lock();
    if (chunk.is_typical)
      queue_.cost().observe(work.model, chunk.candidates, !work.is_started,
                            std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
    if (chunk.left < 0) {
      queue_.finish(work);
    } else {
      jobs_[work.id] = std::move(job);
      queue_.put_back(work, chunk.left);
    }
    metrics_.queue_candidates = queue_.num_candidates();
  }
}

}  // namespace uniscale::serve
