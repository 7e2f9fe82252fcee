#include "serve/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace uniscale::serve {
namespace {

// Counts what happens to it; runs `chunks` chunks, each held up until `gate` opens.
class CountingJob final : public Job {
 public:
  struct Counts {
    std::atomic<int> chunks{0}, replies{0}, late{0}, stopped{0}, alive{0};
  };
  CountingJob(Counts& counts, int chunks, std::shared_future<void> gate = {})
      : counts_(counts), left_(chunks), gate_(std::move(gate)) {
    ++counts_.alive;
  }
  ~CountingJob() override { --counts_.alive; }
  Chunk run_chunk() override {
    if (gate_.valid()) gate_.wait();
    ++counts_.chunks;
    if (--left_ > 0) return {.candidates = 512, .left = 512 * left_};
    ++counts_.replies;
    return {.candidates = 512, .left = -1};
  }
  void give_up(Unserved why) override { ++(why == Unserved::Late ? counts_.late : counts_.stopped); }

 private:
  Counts& counts_;
  int left_;
  std::shared_future<void> gate_;
};

Admission submit(Scheduler& scheduler, std::unique_ptr<Job> job, int64_t candidates,
                 int64_t deadline_ms = 0) {
  const auto now = std::chrono::steady_clock::now();
  return scheduler.submit(job, {.model = "m",
                                .candidates = candidates,
                                .arrived = now,
                                .deadline = deadline_ms > 0 ? now + std::chrono::milliseconds(deadline_ms)
                                                            : WorkQueue::kNoDeadline});
}

TEST(Scheduler, RunsEveryJobToItsEnd) {
  Metrics metrics;
  CountingJob::Counts counts;
  {
    Scheduler scheduler({.num_workers = 2, .max_work = 1000, .max_candidates = 1'000'000}, metrics);
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(submit(scheduler, std::make_unique<CountingJob>(counts, 1 + i % 4), 512 * (1 + i % 4)),
                Admission::Admitted);
    }
    while (scheduler.num_work() > 0) std::this_thread::yield();
  }
  EXPECT_EQ(counts.replies, 100);
  EXPECT_EQ(counts.chunks, 25 * (1 + 2 + 3 + 4));
  EXPECT_EQ(counts.late + counts.stopped, 0);
  EXPECT_EQ(counts.alive, 0);
}

TEST(Scheduler, WaitingJobsExpireAndStopGivesUpTheRest) {
  Metrics metrics;
  CountingJob::Counts counts;
  std::promise<void> gate;
  const auto opened = gate.get_future().share();
  Scheduler scheduler({.num_workers = 1, .max_work = 4}, metrics);
  submit(scheduler, std::make_unique<CountingJob>(counts, 1, opened), 10);  // holds the only worker
  submit(scheduler, std::make_unique<CountingJob>(counts, 1), 10, 5);
  submit(scheduler, std::make_unique<CountingJob>(counts, 1), 10);
  submit(scheduler, std::make_unique<CountingJob>(counts, 3), 1500);
  EXPECT_EQ(submit(scheduler, std::make_unique<CountingJob>(counts, 1), 10), Admission::Full);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  gate.set_value();
  while (scheduler.num_work() > 0) std::this_thread::yield();
  EXPECT_EQ(counts.late, 1);
  EXPECT_EQ(counts.replies, 3);

  std::promise<void> second;
  const auto second_opened = second.get_future().share();
  submit(scheduler, std::make_unique<CountingJob>(counts, 2, second_opened), 1000);
  submit(scheduler, std::make_unique<CountingJob>(counts, 1), 10);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    second.set_value();
  });
  scheduler.stop();
  opener.join();
  EXPECT_EQ(counts.stopped, 2) << "the one that waits, and the one between two chunks";
  EXPECT_EQ(counts.replies, 3);
  EXPECT_EQ(counts.alive, 0);
}

}  // namespace
}  // namespace uniscale::serve
