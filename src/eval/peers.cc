#include "eval/peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace uniscale::eval {
namespace {

constexpr std::array<std::string_view, 4> kPeerNames = {"torcheasyrec", "fuxictr", "recbole", "xgboost"};

// Rows of each group in file order, groups by rising key.
std::vector<std::vector<uint32_t>> rows_by_group(std::span<const uint64_t> groups) {
  std::vector<uint32_t> rows(groups.size());
  std::iota(rows.begin(), rows.end(), 0U);
  std::stable_sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) { return groups[a] < groups[b]; });
  std::vector<std::vector<uint32_t>> out;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == 0 || groups[rows[i]] != groups[rows[i - 1]]) out.emplace_back();
    out.back().push_back(rows[i]);
  }
  return out;
}

// sklearn's log_loss in double: probabilities clipped to [epsilon, 1 − epsilon].
Metric clipped_log_loss(std::span<const float> scores, std::span<const uint8_t> labels, double epsilon) {
  if (scores.empty()) return {.reason = "no rows"};
  std::vector<double> losses;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < 0 || scores[i] > 1)
      return {.reason = fmt::format("row {}: score {} is no probability", i, scores[i])};
    const double p = std::clamp(static_cast<double>(scores[i]), epsilon, 1 - epsilon);
    losses.push_back(-std::log(labels[i] != 0 ? p : 1 - p));
  }
  std::sort(losses.begin(), losses.end());
  return {.value = std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size())};
}

// FuxiCTR orders a group by numpy's argsort, reversed: of tied rows the later one comes first.
std::vector<uint32_t> falling_later_first(std::vector<uint32_t> rows, std::span<const float> scores) {
  std::stable_sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) { return scores[a] < scores[b]; });
  std::reverse(rows.begin(), rows.end());
  return rows;
}

double fuxictr_mrr(const std::vector<uint32_t>& ranked, std::span<const uint8_t> labels) {
  double sum = 0, positives = 0;
  for (size_t i = 0; i < ranked.size(); ++i) {
    if (labels[ranked[i]] == 0) continue;
    sum += 1.0 / static_cast<double>(i + 1);
    positives += 1;
  }
  return sum / (positives + 1e-12);
}

double fuxictr_ndcg(const std::vector<uint32_t>& ranked, std::span<const uint8_t> labels, size_t k) {
  double gain = 0, ideal = 0;
  size_t positives = 0;
  for (size_t i = 0; i < ranked.size(); ++i) {
    if (labels[ranked[i]] == 0) continue;
    if (i < k) gain += 1.0 / std::log2(static_cast<double>(i + 2));
    if (positives < k) ideal += 1.0 / std::log2(static_cast<double>(positives + 2));
    ++positives;
  }
  return gain / (ideal + 1e-12);
}

std::vector<PeerLine> fuxictr(std::span<const float> scores, std::span<const uint8_t> labels,
                              std::span<const uint64_t> groups) {
  constexpr double kEpsilon = 2.220446049250313e-16;
  const auto by_group = group_aucs(scores, labels, groups);
  std::vector<PeerLine> lines = {
      {"AUC", auc(scores, labels), "exact, ties half"},
      {"logloss", clipped_log_loss(scores, labels, kEpsilon), "clipped at the epsilon of double"},
      {"gAUC", gauc(by_group, GroupWeight::Impressions), "one-class groups left out, weight rows"},
      {"avgAUC", gauc(by_group, GroupWeight::Mean), "one-class groups left out, equal weight"}};
  constexpr std::array<size_t, 3> kCuts = {1, 5, 10};
  double mrr = 0;
  std::array<double, kCuts.size()> ndcg{};
  const auto rows = rows_by_group(groups);
  for (const auto& group : rows) {
    const auto ranked = falling_later_first(group, scores);
    mrr += fuxictr_mrr(ranked, labels);
    for (size_t i = 0; i < kCuts.size(); ++i) ndcg[i] += fuxictr_ndcg(ranked, labels, kCuts[i]);
  }
  const auto line = [&](std::string key, double sum, std::string convention) {
    Metric metric{.groups_used = static_cast<int64_t>(rows.size())};
    if (rows.empty()) {
      metric.reason = "no rows";
    } else {
      metric.value = sum / static_cast<double>(rows.size());
    }
    lines.push_back({std::move(key), metric, std::move(convention)});
  };
  line("MRR", mrr,
       "mean 1/rank over all positives of a group; groups without one count 0; later tied row first");
  for (size_t i = 0; i < kCuts.size(); ++i)
    line(fmt::format("NDCG(k={})", kCuts[i]), ndcg[i],
         "groups without a positive count 0; later tied row first");
  return lines;
}

// Counts over thresholds t: rows with score ≥ t. The thresholds are torch.linspace(0, 1, n) in float.
Metric torchmetrics_binned_auc(std::span<const float> scores, std::span<const uint8_t> labels, int num_bins) {
  std::vector<float> thresholds;
  const float step = 1.0F / static_cast<float>(num_bins - 1);
  for (int i = 0; i < num_bins; ++i) {
    thresholds.push_back(i < num_bins / 2 ? step * static_cast<float>(i)
                                          : std::fma(-step, static_cast<float>(num_bins - 1 - i), 1.0F));
  }
  std::array<std::vector<int64_t>, 2> reached;  // by label: rows whose highest reached threshold is i − 1
  for (auto& counts : reached) counts.assign(thresholds.size() + 1, 0);
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < 0 || scores[i] > 1)
      return {.reason = fmt::format("row {}: score {} is no probability", i, scores[i])};
    const auto upto = std::upper_bound(thresholds.begin(), thresholds.end(), scores[i]) - thresholds.begin();
    ++reached[labels[i] != 0 ? 1 : 0][static_cast<size_t>(upto)];
  }
  const double negatives =
      static_cast<double>(std::accumulate(reached[0].begin(), reached[0].end(), int64_t{0}));
  const double positives =
      static_cast<double>(std::accumulate(reached[1].begin(), reached[1].end(), int64_t{0}));
  if (negatives == 0 || positives == 0) return {.reason = "one class only"};
  double area = 0, last_fpr = 0, last_tpr = 0;
  int64_t fp = 0, tp = 0;
  for (size_t i = thresholds.size(); i > 0; --i) {
    fp += reached[0][i];
    tp += reached[1][i];
    const double fpr = static_cast<double>(fp) / negatives, tpr = static_cast<double>(tp) / positives;
    area += (fpr - last_fpr) * (tpr + last_tpr) / 2;
    last_fpr = fpr;
    last_tpr = tpr;
  }
  return {.value = area};
}

// XGBoost's grouped "auc" compares every pair of a group, pairs of one label too: sorted by falling label
// (stable), the share of pairs whose earlier row scores higher, ties half. Groups under three rows are left
// out, one-class groups are not.
Metric xgboost_auc(std::span<const float> scores, std::span<const uint8_t> labels,
                   std::span<const uint64_t> groups) {
  Metric metric;
  double sum = 0;
  for (auto rows : rows_by_group(groups)) {
    if (rows.size() < 3) {
      ++metric.groups_dropped;
      continue;
    }
    ++metric.groups_used;
    std::stable_sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) { return labels[a] > labels[b]; });
    std::vector<float> distinct;
    for (uint32_t row : rows) distinct.push_back(scores[row] + 0.0F);
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    // A Fenwick tree over the distinct scores counts the earlier rows by score.
    std::vector<int64_t> tree(distinct.size() + 1, 0);
    const auto at_most = [&](size_t i) {
      int64_t count = 0;
      for (; i > 0; i &= i - 1) count += tree[i];
      return count;
    };
    int64_t twice = 0;
    for (size_t earlier = 0; earlier < rows.size(); ++earlier) {
      const auto place = static_cast<size_t>(
          std::lower_bound(distinct.begin(), distinct.end(), scores[rows[earlier]]) - distinct.begin() + 1);
      const int64_t lower = at_most(place - 1), not_higher = at_most(place);
      const auto higher = static_cast<int64_t>(earlier) - not_higher;
      twice += 2 * higher + (not_higher - lower);
      for (size_t i = place; i < tree.size(); i += i & (~i + 1)) ++tree[i];
    }
    const auto n = static_cast<double>(rows.size());
    sum += static_cast<double>(twice) / (n * (n - 1));
  }
  if (metric.groups_used == 0) {
    metric.reason = "no group of three rows";
  } else {
    metric.value = sum / static_cast<double>(metric.groups_used);
  }
  return metric;
}

}  // namespace

Peer parse_peer(std::string_view name) {
  const auto it = std::find(kPeerNames.begin(), kPeerNames.end(), name);
  US_REQUIRE(it != kPeerNames.end(),
             fmt::format("as: expected one of torcheasyrec, fuxictr, recbole, xgboost, got \"{}\"", name));
  return static_cast<Peer>(it - kPeerNames.begin());
}

std::string_view peer_name(Peer peer) { return kPeerNames[static_cast<size_t>(peer)]; }

std::vector<PeerLine> recompute(Peer peer, std::span<const float> scores, std::span<const uint8_t> labels,
                                std::span<const uint64_t> groups) {
  US_CHECK(scores.size() == labels.size() && scores.size() == groups.size(), "one label and group a score");
  require_finite(scores);
  switch (peer) {
    case Peer::TorchEasyRec:
      return {{"auc", torchmetrics_binned_auc(scores, labels, 200), "200 thresholds, trapezoid"},
              {"grouped_auc", gauc(group_aucs(scores, labels, groups), GroupWeight::Mean),
               "one-class groups left out, equal weight"}};
    case Peer::FuxiCtr:
      return fuxictr(scores, labels, groups);
    case Peer::RecBole:
      return {{"auc", auc(scores, labels), "exact, ties half"},
              {"gauc", gauc(group_aucs(scores, labels, groups), GroupWeight::Positives),
               "average ranks of ties, one-class groups left out, weight positives"},
              {"logloss", clipped_log_loss(scores, labels, 1e-15), "clipped at 1e-15"}};
    case Peer::XgBoost:
      return {{"auc", xgboost_auc(scores, labels, groups),
               "all pairs of a group, of equal labels too (in row order); groups under 3 rows left out"}};
  }
  US_UNREACHABLE();
}

}  // namespace uniscale::eval
