// A merge over many bucket files takes no more threads than it was given.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "dataset/dataset.h"
#include "dataset/planted_samples_test.h"

namespace uniscale::dataset {
namespace {

int64_t num_threads_of_process() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST(ReaderLimits, ManyBucketsNeedNoMoreThreads) {
  constexpr int kBuckets = 9, kGroups = 6, kRows = 4;
  const std::string folder = testing::TempDir() + "reader_limits_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  const base::Day day = *base::parse_day("2026-03-01");
  std::map<int, std::vector<table::Table>> buckets;
  for (int b = 0; b < kBuckets; ++b) {
    for (int g = 0; g < kGroups; ++g) {
      std::vector<PlantedRequest> requests;
      for (int r = 0; r < kRows; ++r) {
        requests.push_back(
            {.request_id = std::to_string(b) + "-" + std::to_string(g) + "-" + std::to_string(r),
             .user_id = "u",
             .ts_ms = day.begin_ms() + g * 100 + r * 10 + b,
             .clicks = {},
             .items = {{.item_id = "i", .embedding = {}}}});
      }
      buckets[b].push_back(planted_table(requests));
    }
  }
  plant_day(folder, day, buckets);
  const feature::FeatureSpec spec(
      {{.name = "item", .source = "item_id", .table = {}, .boundaries = {}, .ngrams = {}}},
      {{.name = "t", .side = "candidate", .features = {"item"}}}, schema::make_log_schema({}), {},
      {"search"});
  Options options;
  options.samples = folder;
  options.threads = 2;
  options.batch_candidates = 1;
  const int64_t before = num_threads_of_process();
  Reader reader(options, spec);
  int64_t count = 0, last_ts_ms = 0, most = 0;
  for (feature::RequestBatch batch; reader.next(batch); ++count) {
    EXPECT_GE(batch.ts_ms[0], last_ts_ms);
    last_ts_ms = batch.ts_ms[0];
    most = std::max(most, num_threads_of_process());
  }
  EXPECT_EQ(count, kBuckets * kGroups * kRows);
  EXPECT_LE(most, before + 2);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace uniscale::dataset
