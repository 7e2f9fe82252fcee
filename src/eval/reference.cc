#include "eval/reference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace uniscale::eval::reference {

std::optional<double> pairwise_auc(std::span<const float> scores, std::span<const double> positive,
                                   std::span<const double> negative) {
  double ordered = 0, positives = 0, negatives = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    positives += positive[i];
    negatives += negative[i];
    for (size_t j = 0; j < scores.size(); ++j) {
      if (scores[i] > scores[j]) ordered += positive[i] * negative[j];
      if (scores[i] == scores[j]) ordered += 0.5 * positive[i] * negative[j];
    }
  }
  if (!(positives > 0) || !(negatives > 0)) return std::nullopt;
  return ordered / (positives * negatives);
}

std::optional<double> pairwise_gauc(std::span<const float> scores, std::span<const uint8_t> labels,
                                    std::span<const uint64_t> groups, Weight weight) {
  struct Group {
    std::vector<float> scores;
    std::vector<double> positive, negative;
  };
  std::map<uint64_t, Group> by_key;
  for (size_t i = 0; i < scores.size(); ++i) {
    Group& group = by_key[groups[i]];
    group.scores.push_back(scores[i]);
    group.positive.push_back(labels[i] != 0 ? 1.0 : 0.0);
    group.negative.push_back(labels[i] != 0 ? 0.0 : 1.0);
  }
  double sum = 0, total = 0;
  for (const auto& [key, group] : by_key) {
    const auto auc = pairwise_auc(group.scores, group.positive, group.negative);
    if (!auc) continue;
    double w = 1;
    if (weight == Weight::Impressions) w = static_cast<double>(group.scores.size());
    if (weight == Weight::Positives) w = std::accumulate(group.positive.begin(), group.positive.end(), 0.0);
    sum += w * *auc;
    total += w;
  }
  if (total == 0) return std::nullopt;
  return sum / total;
}

ListRanking rank_by_enumeration(std::span<const float> scores, std::span<const uint8_t> labels, int k) {
  US_CHECK(scores.size() == labels.size() && scores.size() <= 8, "a short list");
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  ListRanking sum;
  int64_t num_orders = 0;
  const auto num_positives =
      static_cast<int>(std::count_if(labels.begin(), labels.end(), [](uint8_t y) { return y != 0; }));
  do {
    if (!std::is_sorted(order.begin(), order.end(),
                        [&](size_t a, size_t b) { return scores[a] > scores[b]; }))
      continue;
    ++num_orders;
    double gain = 0, ideal = 0, first = 0;
    bool hit = false;
    for (int rank = 1; rank <= static_cast<int>(order.size()); ++rank) {
      const bool positive = labels[order[static_cast<size_t>(rank - 1)]] != 0;
      if (positive && first == 0) first = 1.0 / rank;
      if (rank > k) continue;
      hit = hit || positive;
      if (positive) gain += 1.0 / std::log2(rank + 1.0);
      if (rank <= num_positives) ideal += 1.0 / std::log2(rank + 1.0);
    }
    sum.hit_rate += hit ? 1 : 0;
    sum.ndcg += ideal > 0 ? gain / ideal : 0;
    sum.mrr += first;
  } while (std::next_permutation(order.begin(), order.end()));
  const auto n = static_cast<double>(num_orders);
  return {.hit_rate = sum.hit_rate / n, .ndcg = sum.ndcg / n, .mrr = sum.mrr / n};
}

}  // namespace uniscale::eval::reference
