#include "es3/gates.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "es3/detail/test_report.h"
#include "es3/report_shares.h"

namespace uniscale::es3 {
namespace {

using testing::ElementsAre;

std::vector<std::string> texts(const std::vector<GateResult>& results) {
  std::vector<std::string> out;
  for (const GateResult& result : results)
    out.push_back(
        fmt::format("{} | {}", kGateStateNames[static_cast<size_t>(result.state)], to_text(result)));
  return out;
}

std::vector<DayVolume> days(std::initializer_list<int64_t> requests) {
  std::vector<DayVolume> out;
  for (const int64_t count : requests) out.push_back({base::Day{}, count, 3350, 200});
  return out;
}

// full_report(): 100 requests, 3,350 samples, 223 events: 74 native, 7 of other actions.
TEST(Es3Gates, NothingIsAskedByDefault) {
  EXPECT_TRUE(judge({}, full_report(), days({1, 2, 3})).empty());
  EXPECT_FALSE(has_failed({}));
}

TEST(Es3Gates, SharesOfTheDay) {
  const DayShares shares = shares_of(full_report());
  EXPECT_EQ(shares.orphans.part, 26);
  EXPECT_EQ(shares.orphans.whole, 100);
  EXPECT_EQ(shares.attributed.part, 37);
  EXPECT_EQ(shares.attributed.whole, 142);
  EXPECT_EQ(shares.queries.part, 40);
  EXPECT_EQ(shares.queries.whole, 100);
  EXPECT_EQ(shares.tiers[2].part, 20);
  EXPECT_EQ(shares.click_rate.part, 60);
  EXPECT_EQ(shares.click_rate.whole, 1000);
}

TEST(Es3Gates, VolumeIsComparedWithTheMedian) {
  GateOptions options;
  options.min_volume = 0.5;
  // Requests: median of 150, 90, 300, 250 = 200; 100 are exactly half.
  EXPECT_THAT(
      texts(judge(options, full_report(), days({150, 90, 300, 250}))),
      ElementsAre(
          "passed | requests: expected at least 0.5, got 0.5000 (100 where the median of 4 days is 200)",
          "passed | samples: expected at least 0.5, got 1.0000 (3350 where the median of 4 days is 3350)",
          "passed | events: expected at least 0.5, got 1.1150 (223 where the median of 4 days is 200)"));
  const auto failed = judge(options, full_report(), days({201, 90, 300}));
  EXPECT_EQ(failed.front().state, GateState::Failed);
  EXPECT_TRUE(has_failed(failed));
  options.max_volume = 1.1;
  EXPECT_EQ(texts(judge(options, full_report(), days({100, 100, 100}))).back(),
            "failed | events: expected 0.5 to 1.1, got 1.1150 (223 where the median of 3 days is 200)");
}

TEST(Es3Gates, VolumeIsNotJudgedByTooFewDays) {
  GateOptions options;
  options.min_volume = 0.5;
  const auto results = judge(options, full_report(), days({1000, 1000}));
  EXPECT_EQ(
      texts(results).front(),
      "not_judged | requests: expected at least 0.5, not judged: 2 of the 7 days before are published, 3 "
      "are needed");
  EXPECT_FALSE(has_failed(results));
}

TEST(Es3Gates, AMedianOfZeroIsNoDivision) {
  GateOptions options;
  options.min_volume = 0.5;
  EXPECT_EQ(judge(options, full_report(), days({0, 0, 0})).front().state, GateState::Passed);
  options.max_volume = 2;
  EXPECT_EQ(texts(judge(options, full_report(), days({0, 0, 0}))).front(),
            "failed | requests: expected 0.5 to 2, got 100 where the median of 3 days is 0");
}

TEST(Es3Gates, SharesAreNamedWithLimitAndCounts) {
  GateOptions options;
  options.max_orphan_share = 0.25;
  options.min_attribution_rate = 0.2;
  options.max_attribution_rate = 0.3;
  options.min_query_share = 0.5;
  options.min_tier_shares = {0.1, 0, 0};
  options.max_tier_shares = {1, 1, 0.2};
  options.min_click_rate = 0.06;
  EXPECT_THAT(
      texts(judge(options, full_report(), {})),
      ElementsAre(
          "failed | orphan_share: expected at most 0.25, got 0.2600 (26 of 100 events of the search domain)",
          "passed | attribution_rate: expected 0.2 to 0.3, got 0.2606 (37 of 142 events of other domains and "
          "orphans)",
          "failed | query_share: expected at least 0.5, got 0.4000 (40 of 100 positives of other domains "
          "with a "
          "negative)",
          "failed | own_share: expected at least 0.1, got 0.0800 (8 of 100 positives of other domains with a "
          "negative)",
          "passed | ann_share: expected at most 0.2, got 0.2000 (20 of 100 positives of other domains with a "
          "negative)",
          "passed | click_rate: expected at least 0.06, got 0.0600 (60 of 1000 exposed samples)"));
  options.min_cases = 101;
  EXPECT_EQ(
      texts(judge(options, full_report(), {})).front(),
      "not_judged | orphan_share: expected at most 0.25, not judged: 100 events of the search domain, 101 "
      "are needed");
}

std::string error_of(const GateOptions& options) {
  try {
    check(options);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Es3Gates, LimitsMustFitTogether) {
  EXPECT_EQ(error_of({}), "no error");
  EXPECT_EQ(error_of({.min_volume = 2, .max_volume = 1.5}),
            "gates.min_volume: expected at most gates.max_volume (1.5), got 2");
  EXPECT_EQ(error_of({.min_volume = 0.5}), "no error");
  EXPECT_EQ(error_of({.median_days = 2}), "gates.min_days: expected at most gates.median_days (2), got 3");
  EXPECT_EQ(error_of({.min_tier_shares = {0.1}}),
            "gates.min_tier_shares: expected 3 values (own, co, ann), got 1");
  EXPECT_EQ(error_of({.min_tier_shares = {0, 0.5, 0}, .max_tier_shares = {1, 0.4, 1}}),
            "gates.min_tier_shares: expected at most gates.max_tier_shares (0.4), got 0.5");
  EXPECT_EQ(error_of({.min_attribution_rate = 0.5, .max_attribution_rate = 0.1}),
            "gates.min_attribution_rate: expected at most gates.max_attribution_rate (0.1), got 0.5");
  EXPECT_EQ(error_of({.min_click_rate = 0.5, .max_click_rate = 0.1}),
            "gates.min_click_rate: expected at most gates.max_click_rate (0.1), got 0.5");
}

}  // namespace
}  // namespace uniscale::es3
