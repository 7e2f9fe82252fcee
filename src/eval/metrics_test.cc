#include "eval/metrics.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error_of_test.h"
#include "base/random.h"
#include "eval/reference.h"

namespace uniscale::eval {
namespace {

using base::error_of;
using testing::HasSubstr;
using Floats = std::vector<float>;
using Labels = std::vector<uint8_t>;
using Keys = std::vector<uint64_t>;

// The oracle table of docs/metrics.md.
TEST(Oracle, M1OneClassHasNoAucButAReason) {
  const Metric metric = auc(Floats{.2F, .9F}, Labels{1, 1});
  EXPECT_FALSE(metric.value);
  EXPECT_EQ(metric.reason, "one class only");
}

TEST(Oracle, M2GroupedAucByThreeWeights) {
  const Floats p = {.9F, .8F, .1F, .2F, .1F, .2F, .3F, .4F, .85F, .6F,
                    .7F, .8F, .5F, .6F, .7F, .1F, .2F, .3F, .4F};
  const Labels y = {1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0};
  const Keys users = {1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4};
  const auto groups = group_aucs(p, y, users);
  const double want[] = {.8750, 11.0 / 12, 2.5 / 3};
  const GroupWeight weights[] = {GroupWeight::Mean, GroupWeight::Impressions, GroupWeight::Positives};
  for (int i = 0; i < 3; ++i) {
    const Metric metric = gauc(groups, weights[i]);
    ASSERT_TRUE(metric.value);
    EXPECT_NEAR(*metric.value, want[i], 1e-15);
    EXPECT_EQ(metric.groups_used, 2);
    EXPECT_EQ(metric.groups_dropped, 2);
  }
}

TEST(Oracle, M4TiesAreHalfWhateverTheRowOrder) {
  EXPECT_EQ(auc(Floats{.5F, .5F, .4F, .5F}, Labels{0, 1, 0, 1}).value, .75);
  EXPECT_EQ(auc(Floats{.5F, .4F, .5F, .5F}, Labels{1, 0, 1, 0}).value, .75);
}

TEST(Oracle, M5TiedNegativesAndAConstant) {
  EXPECT_EQ(auc(Floats{.7F, 0, 0}, Labels{1, 0, 0}).value, 1.0);
  EXPECT_EQ(auc(Floats{.3F, .3F, .3F}, Labels{1, 0, 0}).value, .5);
}

TEST(Oracle, M9ARowOfWeightZeroDoesNotCount) {
  EXPECT_EQ(weighted_auc(Floats{.5F, .9F, .1F}, Labels{1, 0, 0}, std::vector<double>{1, 0, 1}).value, 1.0);
}

TEST(Oracle, M12NdcgOfAConstantDoesNotSeeRowOrder) {
  const Floats p = {.5F, .5F, .5F, .5F};
  const Keys one = {7, 7, 7, 7};
  const int k = 1;
  for (const Labels& y : {Labels{0, 1, 0, 0}, Labels{0, 0, 0, 1}})
    EXPECT_DOUBLE_EQ(rank_requests(p, y, one, one, {&k, 1}).at(0).ndcg.at(0), .25);
}

TEST(Oracle, M13NanNamesItsRow) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(error_of([&] { auc(Floats{nan, .2F, .1F}, Labels{1, 0, 0}); }),
            "row 0: score: expected a finite number, got nan");
  EXPECT_EQ(error_of([&] { group_aucs(Floats{.1F, -inf}, Labels{1, 0}, Keys{1, 1}); }),
            "row 1: score: expected a finite number, got -inf");
  EXPECT_THAT(error_of([&] { log_loss(Floats{.2F, .1F, nan}, Labels{1, 0, 0}); }), HasSubstr("row 2: score"));
}

TEST(Oracle, M17HitRateBeyondTheListIsDefined) {
  const int k = 5;
  const auto rankings =
      rank_requests(Floats{.1F, .2F, .3F}, Labels{1, 0, 0}, Keys{1, 1, 1}, Keys{1, 1, 1}, {&k, 1});
  EXPECT_EQ(rankings.at(0).hit_rate.at(0), 1.0);
  EXPECT_LE(rankings.at(0).ndcg.at(0), 1.0);
}

// Random rows with many ties.
struct World {
  Floats scores;
  Labels labels;
  Keys users, requests;
  std::vector<double> weights;

  World(uint64_t seed, int n, int num_scores) {
    base::RandomStream random(seed, 1);
    for (int i = 0; i < n; ++i) {
      scores.push_back((static_cast<float>(random.below(static_cast<uint64_t>(num_scores))) - 3) / 7);
      labels.push_back(random.bernoulli(.3) ? 1 : 0);
      requests.push_back(random.below(40) * 0x9e3779b97f4a7c15ULL);
      users.push_back(requests.back() % 13);
      weights.push_back(static_cast<double>(random.below(4)) / 2);
    }
  }
  World shuffled(uint64_t seed) const {
    World out = *this;
    base::RandomStream random(seed, 2);
    for (size_t i = scores.size(); i > 1; --i) {
      const size_t j = random.below(i);
      std::swap(out.scores[i - 1], out.scores[j]);
      std::swap(out.labels[i - 1], out.labels[j]);
      std::swap(out.users[i - 1], out.users[j]);
      std::swap(out.requests[i - 1], out.requests[j]);
      std::swap(out.weights[i - 1], out.weights[j]);
    }
    return out;
  }
};

std::vector<double> as_doubles(const Labels& labels, bool positive) {
  std::vector<double> out;
  for (uint8_t y : labels) out.push_back((y != 0) == positive ? 1 : 0);
  return out;
}

TEST(Twins, AucsEqualAllPairs) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const World world(seed, 20 + static_cast<int>(seed) * 3, 2 + static_cast<int>(seed));
    auto positive = as_doubles(world.labels, true), negative = as_doubles(world.labels, false);
    const auto plain = reference::pairwise_auc(world.scores, positive, negative);
    ASSERT_TRUE(plain);
    EXPECT_NEAR(auc(world.scores, world.labels).value.value(), *plain, 1e-12);

    std::vector<double> truth(world.weights.size()), rest(world.weights.size());
    for (size_t i = 0; i < positive.size(); ++i) {
      positive[i] *= world.weights[i];
      negative[i] *= world.weights[i];
      truth[i] = world.weights[i] / 2;
      rest[i] = 1 - truth[i];
    }
    EXPECT_NEAR(weighted_auc(world.scores, world.labels, world.weights).value.value(),
                reference::pairwise_auc(world.scores, positive, negative).value(), 1e-12);
    EXPECT_NEAR(truth_auc(world.scores, truth).value.value(),
                reference::pairwise_auc(world.scores, truth, rest).value(), 1e-12);
  }
}

TEST(Twins, GroupedAucsEqualAllPairs) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const World world(seed, 30 + static_cast<int>(seed) * 5, 2 + static_cast<int>(seed) % 9);
    for (const Keys& keys : {world.users, world.requests}) {
      const auto groups = group_aucs(world.scores, world.labels, keys);
      using reference::pairwise_gauc;
      EXPECT_NEAR(gauc(groups, GroupWeight::Mean).value.value(),
                  pairwise_gauc(world.scores, world.labels, keys, reference::Weight::Mean).value(), 1e-12);
      EXPECT_NEAR(gauc(groups, GroupWeight::Impressions).value.value(),
                  pairwise_gauc(world.scores, world.labels, keys, reference::Weight::Impressions).value(),
                  1e-12);
      EXPECT_NEAR(gauc(groups, GroupWeight::Positives).value.value(),
                  pairwise_gauc(world.scores, world.labels, keys, reference::Weight::Positives).value(),
                  1e-12);
    }
  }
}

TEST(Twins, RankingsEqualTheMeanOverAllOrdersOfTies) {
  const int ks[] = {1, 2, 3, 5, 9};
  for (uint64_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const World world(seed, 1 + static_cast<int>(seed % 6), 1 + static_cast<int>(seed % 4));
    const Keys one(world.scores.size(), 5);
    const auto ranking = rank_requests(world.scores, world.labels, one, one, ks).at(0);
    if (!ranking.has_positive) continue;
    for (size_t i = 0; i < 5; ++i) {
      const auto want = reference::rank_by_enumeration(world.scores, world.labels, ks[i]);
      EXPECT_NEAR(ranking.hit_rate[i], want.hit_rate, 1e-12);
      EXPECT_NEAR(ranking.ndcg[i], want.ndcg, 1e-12);
      EXPECT_NEAR(ranking.mrr, want.mrr, 1e-12);
    }
  }
}

// Enough rows for several parts of the grouping; groups of 1 to 20,000 rows, with few and with many of each
// class.
TEST(Twins, GroupedAucsOfManyRowsEqualTheAucOfEachGroup) {
  base::RandomStream random(5, 1);
  Floats scores;
  Labels labels;
  Keys groups;
  std::map<uint64_t, std::pair<Floats, Labels>> by_group;
  for (int i = 0; i < 300'000; ++i) {
    const uint64_t g = random.bernoulli(.7) ? random.below(20'000) + 1 : random.below(8) * 1'000'000'007ULL;
    groups.push_back(g);
    labels.push_back(random.bernoulli(g % 2 == 0 ? .03 : .98) ? 1 : 0);
    scores.push_back(static_cast<float>(random.below(500)) / 7 - 30);  // many ties, both signs
    by_group[g].first.push_back(scores.back());
    by_group[g].second.push_back(labels.back());
  }
  const std::vector<GroupAuc> got = group_aucs(scores, labels, groups);
  ASSERT_EQ(got.size(), by_group.size());
  size_t at = 0;
  for (const auto& [key, rows] : by_group) {
    ASSERT_EQ(got[at].group, key);
    ASSERT_EQ(got[at].rows, static_cast<int64_t>(rows.first.size()));
    ASSERT_EQ(got[at].positives, std::count(rows.second.begin(), rows.second.end(), 1));
    ASSERT_EQ(got[at].auc, auc(rows.first, rows.second).value) << "group " << key;
    ++at;
  }
}

TEST(Properties, RowOrderChangesNoBit) {
  const int ks[] = {1, 5};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(seed, 300, 40);
    for (float& score : world.scores) score = (score + 1) / 8;  // into [0, 1]
    const World other = world.shuffled(seed + 100);
    EXPECT_EQ(auc(world.scores, world.labels).value, auc(other.scores, other.labels).value);
    EXPECT_EQ(weighted_auc(world.scores, world.labels, world.weights).value,
              weighted_auc(other.scores, other.labels, other.weights).value);
    EXPECT_EQ(gauc(group_aucs(world.scores, world.labels, world.users), GroupWeight::Impressions).value,
              gauc(group_aucs(other.scores, other.labels, other.users), GroupWeight::Impressions).value);
    EXPECT_EQ(log_loss(world.scores, world.labels).value, log_loss(other.scores, other.labels).value);
    EXPECT_EQ(brier(world.scores, world.labels).value, brier(other.scores, other.labels).value);
    EXPECT_EQ(pcoc(world.scores, world.labels).value, pcoc(other.scores, other.labels).value);
    EXPECT_EQ(ece(world.scores, world.labels).value, ece(other.scores, other.labels).value);
    const auto a = rank_requests(world.scores, world.labels, world.requests, world.users, ks);
    const auto b = rank_requests(other.scores, other.labels, other.requests, other.users, ks);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].request, b[i].request);
      EXPECT_EQ(a[i].ndcg, b[i].ndcg);
      EXPECT_EQ(a[i].mrr, b[i].mrr);
    }
  }
}

TEST(Properties, AMonotoneMapOfTheScoresChangesNoRank) {
  const World world(3, 400, 25);
  Floats mapped;
  for (float score : world.scores) mapped.push_back(1 / (1 + std::exp(-3 * score)));
  EXPECT_EQ(auc(world.scores, world.labels).value, auc(mapped, world.labels).value);
}

TEST(Auc, MinusZeroTiesWithZero) { EXPECT_EQ(auc(Floats{-0.0F, 0.0F}, Labels{1, 0}).value, .5); }

TEST(Auc, ExtremeFloatsKeepTheirOrder) {
  const float max = std::numeric_limits<float>::max(), tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(auc(Floats{-max, -tiny, 0, tiny, max}, Labels{0, 0, 0, 1, 1}).value, 1.0);
  EXPECT_EQ(auc(Floats{-max, -tiny, 0, tiny, max}, Labels{1, 1, 0, 0, 0}).value, 0.0);
}

TEST(Gauc, NoValidGroupIsNoValueNeverAHalf) {
  const Metric metric = gauc(group_aucs(Floats{.1F, .2F}, Labels{1, 0}, Keys{1, 2}), GroupWeight::Mean);
  EXPECT_FALSE(metric.value);
  EXPECT_EQ(metric.reason, "no group with both classes");
  EXPECT_EQ(metric.groups_dropped, 2);
}

TEST(Truth, OutsideProbabilityNamesItsRow) {
  EXPECT_EQ(error_of([] { truth_auc(Floats{.1F, .2F}, std::vector<double>{.5, 1.5}); }),
            "row 1: truth: expected 0 … 1, got 1.5");
}

TEST(Calibration, HandComputed) {
  const Floats p = {.25F, .5F, .75F, 1.0F};
  const Labels y = {0, 1, 0, 1};
  EXPECT_NEAR(*log_loss(p, y).value, (-std::log(.75) - std::log(.5) - std::log(.25)) / 4, 1e-11);
  EXPECT_NEAR(*brier(p, y).value, (.0625 + .25 + .5625) / 4, 1e-15);
  EXPECT_NEAR(*pcoc(p, y).value, 1.25, 1e-15);
  // Two bins of two rows: |.75 − 1| + |1.75 − 1| over four rows.
  EXPECT_NEAR(*ece(p, y, 2).value, 1.0 / 4, 1e-15);
  EXPECT_EQ(pcoc(p, Labels{0, 0, 0, 0}).reason, "no positive");
  EXPECT_EQ(brier(Floats{}, Labels{}).reason, "no rows");
}

TEST(Calibration, EqualProbabilitiesShareABin) {
  // All rows in one bin: predicted 1.2 of 4, observed 1.
  EXPECT_NEAR(*ece(Floats{.3F, .3F, .3F, .3F}, Labels{1, 0, 0, 0}).value, .05, 1e-7);
}

TEST(Calibration, ACertainWrongPredictionCostsTheClip) {
  EXPECT_NEAR(*log_loss(Floats{0.0F}, Labels{1}).value, -std::log(1e-12), 1e-9);
}

}  // namespace
}  // namespace uniscale::eval
