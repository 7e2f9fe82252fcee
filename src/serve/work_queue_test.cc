#include "serve/work_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace uniscale::serve {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using TimePoint = WorkQueue::TimePoint;

// A queue with a clock that only the test moves. One candidate costs 0.1 ms and a request 1.6 ms (16
// candidates).
class WorkQueueTest : public ::testing::Test {
 protected:
  void SetUp() override { reset({}); }
  void reset(const WorkQueue::Limits& limits) {
    queue_.emplace(limits);
    queue_->cost().observe("m", 84, true, 10'000'000);  // (84 + 16) × 0.1 ms
  }
  Admission offer(uint64_t id, int64_t candidates, int64_t deadline_ms = 0) {
    return queue_->offer(
        {.id = id,
         .model = "m",
         .candidates = candidates,
         .arrived = now_,
         .deadline = deadline_ms > 0 ? now_ + milliseconds(deadline_ms) : WorkQueue::kNoDeadline},
        now_);
  }
  // The id of the work taken, −1 if none; what expired is added to expired_.
  int64_t take() {
    taken_ = queue_->take(now_);
    for (const auto& one : taken_.expired) expired_.push_back(one.id);
    return taken_.work ? static_cast<int64_t>(taken_.work->id) : -1;
  }
  // Takes, runs a chunk in no time, and gives back or finishes.
  int64_t step() {
    const int64_t id = take();
    if (id < 0) return id;
    const int64_t left = std::max<int64_t>(0, taken_.work->candidates - 512);
    left > 0 ? queue_->put_back(*taken_.work, left) : queue_->finish(*taken_.work);
    return id;
  }
  std::vector<int64_t> steps(int count) {
    std::vector<int64_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(step());
    return ids;
  }
  void wait(int64_t ms) { now_ += milliseconds(ms); }

  std::optional<WorkQueue> queue_;
  TimePoint now_ = TimePoint() + std::chrono::hours(1);
  WorkQueue::Taken taken_;
  std::vector<uint64_t> expired_;
};

TEST_F(WorkQueueTest, CostIsLearntPerCandidateWithAShareForTheRequest) {
  EXPECT_EQ(queue_->cost().nanoseconds("m", 84, true), 10'000'000);
  EXPECT_EQ(queue_->cost().nanoseconds("m", 84, false), 8'400'000);
  EXPECT_EQ(queue_->cost().nanoseconds("other", 84, true), 10'000'000)
      << "an unseen model costs what others do";
  EXPECT_EQ(CostEstimate().nanoseconds("m", 1000, true), 0);
  // Twice as slow from now on: after 200 observations the mean is there.
  for (int i = 0; i < 200; ++i) queue_->cost().observe("m", 100, false, 20'000'000);
  EXPECT_NEAR(static_cast<double>(queue_->cost().nanoseconds("m", 100, false)), 20e6, 0.2e6);
}

TEST_F(WorkQueueTest, FirstInFirstOut) {
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(offer(id, 50, 1000), Admission::Admitted);
  EXPECT_THAT(steps(4), ElementsAre(1, 2, 3, -1));
  EXPECT_EQ(queue_->num_work(), 0);
  EXPECT_EQ(queue_->num_candidates(), 0);
}

TEST_F(WorkQueueTest, NewestFirstOnceTheOldestWaitedForMoreThanHalfItsDeadline) {
  offer(1, 50, 100);
  wait(30);
  offer(2, 50, 100);
  wait(20);
  offer(3, 50, 100);
  EXPECT_EQ(step(), 1) << "50 of 100 ms: not more than half";
  offer(4, 50, 100);
  wait(31);  // 2 waited 51 ms
  EXPECT_THAT(steps(3), ElementsAre(4, 3, 2));
}

TEST_F(WorkQueueTest, WorkWithoutDeadlineKeepsItsTurn) {
  offer(1, 50);
  wait(100'000);
  offer(2, 50, 100);
  EXPECT_THAT(steps(2), ElementsAre(1, 2));
}

TEST_F(WorkQueueTest, ExpiredWorkIsHandedOutAsSuch) {
  offer(1, 50, 20);
  offer(2, 50, 20);
  offer(3, 50, 1000);
  wait(20);
  EXPECT_EQ(take(), 3);
  EXPECT_THAT(expired_, ElementsAre(1, 2));
  EXPECT_EQ(queue_->num_work(), 1);
  EXPECT_EQ(queue_->num_candidates(), 50);
}

TEST_F(WorkQueueTest, WorkThatCannotBeDoneInTimeGivesWayToOthersOnly) {
  offer(1, 84, 15);  // takes 10 ms
  offer(2, 84, 1000);
  wait(6);
  EXPECT_EQ(take(), 2);
  EXPECT_THAT(expired_, ElementsAre(1));
  queue_->finish(*taken_.work);
  offer(3, 84, 15);
  wait(6);
  EXPECT_EQ(take(), 3) << "nothing else waits: the prediction may be wrong";
}

TEST_F(WorkQueueTest, AdmissionByPredictedWait) {
  EXPECT_EQ(offer(1, 84, 5), Admission::Admitted) << "an empty queue takes everything";
  EXPECT_EQ(step(), 1);
  EXPECT_EQ(offer(1, 84, 11), Admission::Admitted);
  EXPECT_EQ(offer(2, 84, 21), Admission::WouldBeLate) << "10 ms of wait, 10 of its own, 1/16 in reserve";
  EXPECT_EQ(offer(2, 84, 22), Admission::Admitted);
  EXPECT_EQ(offer(3, 84, 31), Admission::WouldBeLate);
  EXPECT_EQ(queue_->predicted_wait_ns("m", 84, now_), 20'000'000);
  EXPECT_EQ(take(), 1);
  wait(4);
  EXPECT_EQ(queue_->predicted_wait_ns("m", 84, now_), 16'000'000) << "what ran is not waited for";
  EXPECT_EQ(queue_->num_work(), 2) << "refused work leaves no trace";
  EXPECT_EQ(offer(4, 84), Admission::Admitted) << "without a deadline only the bounds count";
}

TEST_F(WorkQueueTest, TwoWorkersHalveTheWait) {
  reset({.num_workers = 2});
  for (uint64_t id = 1; id <= 4; ++id) offer(id, 84);
  EXPECT_EQ(queue_->predicted_wait_ns("m", 84, now_), 20'000'000);
}

TEST_F(WorkQueueTest, BoundsOnRequestsAndCandidates) {
  reset({.max_work = 2, .max_candidates = 1000});
  EXPECT_EQ(offer(1, 5000), Admission::Admitted) << "one alone is taken whatever its size";
  EXPECT_EQ(offer(2, 1), Admission::Full);
  while (step() >= 0) {
  }
  EXPECT_EQ(offer(3, 500), Admission::Admitted);
  EXPECT_EQ(offer(4, 501), Admission::Full);
  EXPECT_EQ(offer(4, 500), Admission::Admitted);
  EXPECT_EQ(offer(5, 0), Admission::Full) << "two requests";
  EXPECT_EQ(take(), 3);
  EXPECT_EQ(offer(5, 0), Admission::Full) << "running counts";
  queue_->finish(*taken_.work);
  EXPECT_EQ(offer(5, 0), Admission::Admitted);
}

TEST_F(WorkQueueTest, ALongRequestAndShortOnesTakeTurns) {
  offer(1, 2000);  // chunks of 512, 512, 512, 464
  for (uint64_t id = 2; id <= 5; ++id) offer(id, 50);
  EXPECT_THAT(steps(9), ElementsAre(1, 2, 1, 3, 1, 4, 1, 5, -1));
}

TEST_F(WorkQueueTest, ShortOnesCannotStarveALongOne) {
  offer(1, 2000);
  EXPECT_EQ(step(), 1);
  std::vector<int64_t> order;
  for (uint64_t id = 2; order.size() < 6; id += 2) {
    offer(id, 50);
    offer(id + 1, 50);  // two arrive in every turn
    order.push_back(step());
  }
  EXPECT_THAT(order, ElementsAre(2, 1, 3, 1, 4, 1));
}

TEST_F(WorkQueueTest, AShortRequestIsNotRefusedForALongOneAhead) {
  offer(1, 5000);  // 500 ms
  take();
  queue_->put_back(*taken_.work, 4488);
  // A chunk of 51 ms before its turn, not all of the rest.
  EXPECT_EQ(offer(2, 50, 63), Admission::Admitted);
  EXPECT_EQ(offer(3, 2000, 400), Admission::WouldBeLate) << "a long one shares with the long one";
}

TEST_F(WorkQueueTest, StartedWorkExpiresBetweenChunks) {
  offer(1, 2000, 100);
  EXPECT_EQ(step(), 1);
  wait(100);
  EXPECT_EQ(take(), -1);
  EXPECT_THAT(expired_, ElementsAre(1));
  EXPECT_EQ(queue_->num_candidates(), 0);
}

TEST_F(WorkQueueTest, DrainHandsOutWhatWaits) {
  offer(1, 2000);
  offer(2, 50);
  EXPECT_EQ(step(), 1);
  offer(3, 50);
  take();
  std::vector<uint64_t> ids;
  for (const auto& one : queue_->drain()) ids.push_back(one.id);
  EXPECT_THAT(ids, ElementsAre(3, 1));
  EXPECT_EQ(queue_->num_work(), 1) << "the one that runs";
  queue_->finish(*taken_.work);
  EXPECT_EQ(queue_->num_candidates(), 0);
  EXPECT_THROW(queue_->finish(*taken_.work), base::InternalError);
}

// An M/D/1 queue under a fake clock: arrivals at `load` × capacity, each request 10 ms of work, deadline 100
// ms.
struct Outcome {
  int64_t served_in_time = 0, served_late = 0, refused = 0, expired = 0;
  double busy_share = 0;
};
Outcome simulate(WorkQueue& queue, double load, int num_requests) {
  Outcome out;
  const auto start = TimePoint() + std::chrono::hours(1);
  const auto gap = std::chrono::nanoseconds(static_cast<int64_t>(10e6 / load));
  TimePoint worker_free = start, last = start;
  int next = 0;
  std::chrono::nanoseconds busy{0};
  while (next < num_requests || queue.num_waiting() > 0) {
    const TimePoint arrival = start + next * gap;
    if (next < num_requests && (arrival <= worker_free || queue.num_waiting() == 0)) {
      if (queue.offer({.id = static_cast<uint64_t>(next),
                       .model = "m",
                       .candidates = 84,
                       .arrived = arrival,
                       .deadline = arrival + milliseconds(100)},
                      arrival) == Admission::Admitted) {
      } else {
        ++out.refused;
      }
      ++next;
      worker_free = std::max(worker_free, arrival);
      continue;
    }
    WorkQueue::Taken taken = queue.take(worker_free);
    out.expired += static_cast<int64_t>(taken.expired.size());
    if (!taken.work) continue;
    worker_free += milliseconds(10);
    busy += milliseconds(10);
    (worker_free <= taken.work->deadline ? out.served_in_time : out.served_late)++;
    queue.finish(*taken.work);
    last = worker_free;
  }
  out.busy_share =
      std::chrono::duration<double>(busy).count() / std::chrono::duration<double>(last - start).count();
  return out;
}

TEST_F(WorkQueueTest, OverloadKeepsTheWorkerOnRequestsThatEndInTime) {
  for (double load : {2.0, 10.0}) {
    reset({});
    const Outcome out = simulate(*queue_, load, 2000);
    EXPECT_EQ(out.served_late, 0) << load;
    EXPECT_GE(out.served_in_time, static_cast<int64_t>(2000 / load)) << load;
    EXPECT_GT(out.busy_share, 0.99) << load;
    EXPECT_EQ(out.served_in_time + out.refused + out.expired, 2000) << load;
  }
  reset({});
  const Outcome calm = simulate(*queue_, 0.9, 500);
  EXPECT_EQ(calm.served_in_time, 500);
}

}  // namespace
}  // namespace uniscale::serve
