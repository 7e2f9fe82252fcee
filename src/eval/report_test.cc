#include "eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error_of_test.h"
#include "base/random.h"
#include "eval/bootstrap.h"
#include "eval/peers.h"

namespace uniscale::eval {
namespace {

using base::error_of;
using testing::HasSubstr;

// Users with requests of 5 rows; `signal` 0: scores know nothing of the labels.
Input world(uint64_t seed, int num_requests, double signal) {
  Input input;
  base::RandomStream random(seed, 1);
  for (int r = 0; r < num_requests; ++r) {
    const uint64_t user = 1 + random.below(static_cast<uint64_t>(num_requests) / 4 + 1);
    for (int i = 0; i < 5; ++i) {
      input.labels.push_back(random.bernoulli(.3) ? 1 : 0);
      const double score = std::floor(random.uniform() * 20 + signal * input.labels.back()) / 40;
      input.scores.push_back(static_cast<float>(std::min(score, 1.0)));
      input.users.push_back(row_key(std::to_string(user)));
      input.requests.push_back(row_key("r" + std::to_string(r)));
      input.domains.push_back(r % 3 == 0 ? "feed" : "search");
      input.origins.push_back("exposed");
    }
  }
  return input;
}

std::vector<size_t> shuffled_rows(size_t n) {
  std::vector<size_t> rows(n);
  for (size_t i = 0; i < n; ++i) rows[i] = i;
  base::RandomStream random(9, 9);
  for (size_t i = n; i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
  return rows;
}

TEST(Evaluate, HoldsEveryKeyWithItsConvention) {
  const Report report = evaluate(world(1, 200, 4), {});
  const std::vector<std::string> keys = {"auc",
                                         "gauc@impr",
                                         "gauc@mean",
                                         "gauc@pos",
                                         "gauc_request@impr",
                                         "gauc_request@mean",
                                         "gauc_request@pos",
                                         "hr@1",
                                         "hr@5",
                                         "hr@10",
                                         "ndcg@1",
                                         "ndcg@5",
                                         "ndcg@10",
                                         "mrr",
                                         "logloss",
                                         "brier",
                                         "pcoc",
                                         "ece"};
  ASSERT_EQ(report.lines.size(), keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const Line& line = report.lines[i];
    EXPECT_EQ(line.key, keys[i]);
    ASSERT_TRUE(line.metric.value) << line.key;
    EXPECT_EQ(line.low.has_value(), line.key != "ece") << line.key;
    // Lists of five have every positive in their top five: no resample can differ.
    if (line.low && (line.key == "hr@5" || line.key == "hr@10")) {
      EXPECT_EQ(*line.metric.value, 1.0);
      EXPECT_EQ(*line.low, 1.0);
      EXPECT_EQ(*line.high, 1.0);
    } else if (line.low) {
      EXPECT_LT(*line.low, *line.metric.value) << line.key;
      EXPECT_GT(*line.high, *line.metric.value) << line.key;
    }
  }
  EXPECT_EQ(report.find("gauc@impr")->group, "user");
  EXPECT_EQ(report.find("gauc@impr")->weight, "impressions");
  EXPECT_EQ(report.find("hr@5")->ties, "expectation");
  EXPECT_EQ(report.rows, 1000);
  EXPECT_EQ(report.requests, 200);
}

TEST(Evaluate, NeitherRowOrderNorThreadsChangeABit) {
  const Input input = world(2, 150, 2);
  const Input other = select(input, shuffled_rows(input.scores.size()));
  const std::string want = json::dump(to_json(evaluate(input, {.threads = 1})));
  EXPECT_EQ(want, json::dump(to_json(evaluate(other, {.threads = 1}))));
  EXPECT_EQ(want, json::dump(to_json(evaluate(input, {.threads = 3}))));
}

TEST(Evaluate, ScoresThatAreNoProbabilitiesHaveNoCalibration) {
  Input input = world(3, 20, 2);
  for (float& score : input.scores) score -= 5;
  const Report report = evaluate(input, {});
  EXPECT_TRUE(report.find("auc")->metric.value);
  EXPECT_FALSE(report.find("brier")->metric.value);
  EXPECT_EQ(report.find("brier")->metric.reason, "scores are not probabilities");
}

TEST(Evaluate, RowsWithoutAUserAreInNoUserGroupAndCounted) {
  Input input = world(4, 40, 2);
  const Report before = evaluate(input, {});
  for (int i = 0; i < 10; ++i) {  // one more request, wrongly ranked, nobody's
    input.labels.push_back(i == 0 ? 1 : 0);
    input.scores.push_back(static_cast<float>(i) / 10);
    input.users.push_back(row_key(""));
    input.requests.push_back(row_key("nobody"));
    input.domains.push_back("search");
    input.origins.push_back("exposed");
  }
  const Report after = evaluate(input, {});
  EXPECT_EQ(after.rows_without_user, 10);
  EXPECT_EQ(after.users, before.users);
  EXPECT_EQ(after.find("gauc@impr")->metric.value, before.find("gauc@impr")->metric.value);
  EXPECT_LT(*after.find("hr@1")->metric.value, *before.find("hr@1")->metric.value);
  EXPECT_THAT(table(after, "t"), HasSubstr("10 rows without a user are in no user group"));
}

TEST(Evaluate, ErrorsNameTheRow) {
  EXPECT_EQ(error_of([] { evaluate({}, {}); }), "nothing to evaluate: no row passed the filters");
  Input input{.scores = {.1F, NAN}, .labels = {0, 1}, .users = {1, 2}};
  EXPECT_EQ(error_of([&] { evaluate(input, {}); }), "row 1: score: expected a finite number, got nan");
  input.scores[1] = .5F;
  input.weights = {-1, 1};
  EXPECT_EQ(error_of([&] { evaluate(input, {}); }), "row 0: weight: expected a number of at least 0, got -1");
  EXPECT_EQ(error_of([&] { evaluate({.scores = {.5F}, .labels = {1}, .users = {1}}, {.as = "sklearn"}); }),
            "as: expected one of torcheasyrec, fuxictr, recbole, xgboost, got \"sklearn\"");
  EXPECT_EQ(error_of([&] {
              evaluate({.scores = {.5F}, .labels = {1}, .users = {1}},
                       {.as = "xgboost", .as_by_request = true});
            }),
            "grouping by request: expected a column request_id");
}

TEST(Evaluate, OneClassIsNullWithItsReasonInTextAndJson) {
  const Report report = evaluate({.scores = {.1F, .2F}, .labels = {0, 0}, .users = {1, 1}}, {});
  EXPECT_THAT(table(report, "t"), HasSubstr("null"));
  EXPECT_THAT(table(report, "t"), HasSubstr("one class only"));
  const json::Value value = to_json(report);
  EXPECT_TRUE(value["metrics"]["auc"]["value"].is_null());
  EXPECT_EQ(value["metrics"]["auc"]["reason"], "one class only");
  EXPECT_EQ(value["metrics"]["gauc@impr"]["groups_dropped"], 1);
}

TEST(Evaluate, TruthGivesTheEntireSpaceAuc) {
  Input input{.scores = {.9F, .1F}, .labels = {0, 1}, .users = {1, 1}};
  input.truths = {1, 0};
  EXPECT_EQ(evaluate(input, {}).find("auc@truth")->metric.value, 1.0);
}

TEST(Breakdown, PartsHoldEveryRowOnce) {
  const Input input = world(5, 60, 1);
  const auto parts = breakdown(input);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts.at("domain feed").scores.size() + parts.at("domain search").scores.size(),
            input.scores.size());
  EXPECT_EQ(parts.at("origin exposed").scores, input.scores);
}

TEST(Bootstrap, AucOfAResampleIsTheAucOfItsRows) {
  const Input input = world(6, 40, 1);
  std::vector<uint64_t> keys = input.users;
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::vector<uint32_t> units;
  for (uint64_t user : input.users)
    units.push_back(static_cast<uint32_t>(std::lower_bound(keys.begin(), keys.end(), user) - keys.begin()));
  const Bootstrap bootstrap(keys.size(), 11, 7, 2);
  const auto got = bootstrap.aucs(input.scores, input.labels, units);
  ASSERT_EQ(got.size(), 11U);
  for (size_t r = 0; r < got.size(); ++r) {
    // The plain way: draw, then repeat the rows.
    std::vector<int> counts(keys.size(), 0);
    base::RandomStream random(7, r);
    for (size_t i = 0; i < keys.size(); ++i) ++counts[random.below(keys.size())];
    std::vector<float> scores;
    std::vector<uint8_t> labels;
    for (size_t i = 0; i < units.size(); ++i) {
      scores.insert(scores.end(), static_cast<size_t>(counts[units[i]]), input.scores[i]);
      labels.insert(labels.end(), static_cast<size_t>(counts[units[i]]), input.labels[i]);
    }
    EXPECT_NEAR(got[r].value(), auc(scores, labels).value.value(), 1e-12);
  }
}

// 95 % intervals cover the truth about 95 times in 100: 200 worlds without signal, true AUC ½.
TEST(Bootstrap, IntervalsCoverTheTruth) {
  int covered = 0;
  for (uint64_t seed = 100; seed < 300; ++seed) {
    Input input = world(seed, 60, 0);
    input.requests.clear();
    const Report report = evaluate(input, {.resamples = 100, .seed = seed});
    const Line& line = *report.find("auc");
    if (*line.low <= .5 && .5 <= *line.high) ++covered;
  }
  EXPECT_GE(covered, 175);
  EXPECT_LE(covered, 200);
}

TEST(Compare, AModelAgainstItselfDiffersByExactlyZero) {
  const Input input = world(7, 50, 2);
  const Report report = compare(input, input.scores, {});
  for (const Line& line : report.lines) {
    EXPECT_EQ(line.metric.value.value(), 0.0) << line.key;
    if (line.low) {
      EXPECT_EQ(*line.low, 0.0) << line.key;
      EXPECT_EQ(*line.high, 0.0) << line.key;
    }
  }
}

TEST(Compare, PairingIsNarrowerThanTwoIntervals) {
  const Input input = world(8, 300, 6);
  std::vector<float> other = input.scores;
  base::RandomStream random(8, 8);
  for (float& score : other) score = std::min(score + static_cast<float>(random.uniform()) / 40, 1.0F);
  const Report alone = evaluate(input, {}), difference = compare(input, other, {});
  const Line &a = *alone.find("auc"), &d = *difference.find("auc");
  EXPECT_LT(*d.high - *d.low, (*a.high - *a.low) / 2);
  Input second = input;
  second.scores = other;
  EXPECT_DOUBLE_EQ(*d.metric.value, *a.metric.value - *evaluate(second, {}).find("auc")->metric.value);
}

// --- Peers: values by hand from the definitions in docs/metrics.md. ---

std::optional<double> value_of(const std::vector<PeerLine>& lines, std::string_view key) {
  for (const PeerLine& line : lines) {
    if (line.key == key) return line.metric.value;
  }
  return std::nullopt;
}

const std::vector<float> kScores = {.9F, .8F, .1F, .2F, .5F, .5F, .4F, .3F};
const std::vector<uint8_t> kLabels = {1, 0, 0, 1, 1, 0, 0, 0};
const std::vector<uint64_t> kGroups = {1, 1, 1, 1, 2, 2, 2, 3};

TEST(Peers, GroupedAucOfEach) {
  // Group 1: ¾. Group 2: (½ + 1) / 2 = ¾. Group 3: one class.
  const auto of = [](Peer peer, const char* key) {
    return value_of(recompute(peer, kScores, kLabels, kGroups), key).value();
  };
  EXPECT_DOUBLE_EQ(of(Peer::TorchEasyRec, "grouped_auc"), .75);
  EXPECT_DOUBLE_EQ(of(Peer::FuxiCtr, "gAUC"), .75);
  EXPECT_DOUBLE_EQ(of(Peer::FuxiCtr, "avgAUC"), .75);
  EXPECT_DOUBLE_EQ(of(Peer::RecBole, "gauc"), .75);
  // All pairs by falling label. Group 1: .9 .2 | .8 .1 → 3 + 1 + 1 of 6 pairs (.2 against .8 loses).
  // Group 2: .5 | .5 .4 → ½ + 1 + 1 of 3. Group 3: under three rows.
  EXPECT_DOUBLE_EQ(of(Peer::XgBoost, "auc"), (5.0 / 6 + 2.5 / 3) / 2);
}

TEST(Peers, OnlyGroupedLinesNameAGroup) {
  const Report report = evaluate({.scores = kScores, .labels = kLabels, .users = kGroups}, {.as = "recbole"});
  EXPECT_EQ(report.find("auc")->group, "");
  EXPECT_EQ(report.find("gauc")->group, "user");
  EXPECT_THAT(table(report, "t"), HasSubstr("convention of recbole; no intervals"));
}

TEST(Peers, XgboostKeepsOneClassGroupsAndSeesRowOrder) {
  const std::vector<uint64_t> one = {1, 1, 1};
  const std::vector<uint8_t> none = {0, 0, 0};
  EXPECT_DOUBLE_EQ(*value_of(recompute(Peer::XgBoost, std::vector<float>{3, 2, 1}, none, one), "auc"), 1.0);
  EXPECT_DOUBLE_EQ(*value_of(recompute(Peer::XgBoost, std::vector<float>{1, 2, 3}, none, one), "auc"), 0.0);
}

TEST(Peers, FuxictrCountsGroupsWithoutAPositiveAsZero) {
  const auto lines = recompute(Peer::FuxiCtr, kScores, kLabels, kGroups);
  // Ranked: group 1 y = 1 0 1 0 → (1 + 1/3) / 2; group 2, the later of the tied rows first, y = 0 1 0 → ½; 0.
  EXPECT_NEAR(*value_of(lines, "MRR"), (2.0 / 3 + .5 + 0) / 3, 1e-9);
  EXPECT_NEAR(*value_of(lines, "NDCG(k=1)"), 1.0 / 3, 1e-9);
}

TEST(Peers, TwoHundredBinsLoseWhatHappensBelowOneBin) {
  // All scores below the first positive threshold: one point of the curve, 0.5, where the exact AUC is 1.
  const std::vector<float> low = {.001F, .002F, .003F, .004F};
  const std::vector<uint8_t> y = {0, 0, 1, 1};
  EXPECT_DOUBLE_EQ(*value_of(recompute(Peer::TorchEasyRec, low, y, std::vector<uint64_t>{1, 1, 1, 1}), "auc"),
                   .5);
  EXPECT_EQ(auc(low, y).value, 1.0);
  const auto lines = recompute(Peer::TorchEasyRec, std::vector<float>{2, 1, 0}, std::vector<uint8_t>{1, 0, 0},
                               std::vector<uint64_t>{1, 1, 1});
  EXPECT_EQ(lines[0].metric.reason, "row 0: score 2 is no probability");
}

}  // namespace
}  // namespace uniscale::eval
