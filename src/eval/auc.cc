#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "eval/detail/score_keys.h"
#include "eval/metrics.h"

namespace uniscale::eval {
namespace {

constexpr const char* kOneClass = "one class only";

Metric no_value(std::string reason) { return {.reason = std::move(reason)}; }

// Twice the number of (positive, negative) pairs in the right order, a tie counting half; both sorted rising.
int64_t twice_ordered_pairs(const std::vector<uint32_t>& positives, const std::vector<uint32_t>& negatives) {
  int64_t sum = 0;
  size_t below = 0, upto = 0;
  for (uint32_t key : positives) {
    while (below < negatives.size() && negatives[below] < key) ++below;
    upto = std::max(upto, below);
    while (upto < negatives.size() && negatives[upto] == key) ++upto;
    sum += static_cast<int64_t>(below + upto);
  }
  return sum;
}

// Row indices in an order that does not depend on the rows' own: by score, then by everything else that
// counts.
template <class Less>
std::vector<uint32_t> sorted_rows(size_t n, Less less) {
  std::vector<uint32_t> rows(n);
  for (size_t i = 0; i < n; ++i) rows[i] = static_cast<uint32_t>(i);
  std::sort(rows.begin(), rows.end(), less);
  return rows;
}

// Dense numbers for group keys in order of first appearance: open addressing, grows by doubling.
class GroupIndex {
 public:
  GroupIndex() : slots_(1 << 12, 0) {}
  uint32_t operator()(uint64_t key) {
    if (!keys_.empty() && keys_[last_] == key) return last_;  // logs come in runs of a group
    if (2 * keys_.size() >= slots_.size()) grow();
    size_t slot = base::mix64(key) & (slots_.size() - 1);
    while (slots_[slot] != 0 && keys_[slots_[slot] - 1] != key) slot = (slot + 1) & (slots_.size() - 1);
    if (slots_[slot] == 0) {
      keys_.push_back(key);
      slots_[slot] = static_cast<uint32_t>(keys_.size());
    }
    last_ = slots_[slot] - 1;
    return last_;
  }
  const std::vector<uint64_t>& keys() const { return keys_; }

 private:
  void grow() {
    slots_.assign(slots_.size() * 4, 0);
    for (size_t i = 0; i < keys_.size(); ++i) {
      size_t slot = base::mix64(keys_[i]) & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<uint32_t>(i + 1);
    }
  }
  std::vector<uint32_t> slots_;
  std::vector<uint64_t> keys_;
  uint32_t last_ = 0;
};

}  // namespace

void require_finite(std::span<const float> scores) {
  for (size_t i = 0; i < scores.size(); ++i) {
    US_REQUIRE(std::isfinite(scores[i]),
               fmt::format("row {}: score: expected a finite number, got {}", i, scores[i]));
  }
}

Metric auc(std::span<const float> scores, std::span<const uint8_t> labels) {
  US_CHECK(scores.size() == labels.size(), "one label a score");
  require_finite(scores);
  std::vector<uint32_t> keys[2];
  size_t num_positives = 0;
  for (uint8_t label : labels) num_positives += label != 0 ? 1 : 0;
  keys[1].reserve(num_positives);
  keys[0].reserve(scores.size() - num_positives);
  for (size_t i = 0; i < scores.size(); ++i) keys[labels[i] != 0 ? 1 : 0].push_back(score_key(scores[i]));
  if (keys[0].empty() || keys[1].empty()) return no_value(kOneClass);
  radix_sort(keys[0]);
  radix_sort(keys[1]);
  const double pairs = static_cast<double>(keys[0].size()) * static_cast<double>(keys[1].size());
  return {.value = static_cast<double>(twice_ordered_pairs(keys[1], keys[0])) / (2.0 * pairs)};
}

Metric weighted_auc(std::span<const float> scores, std::span<const uint8_t> labels,
                    std::span<const double> weights) {
  US_CHECK(scores.size() == labels.size() && scores.size() == weights.size(), "one label and weight a score");
  require_finite(scores);
  const auto rows = sorted_rows(scores.size(), [&](uint32_t a, uint32_t b) {
    if (scores[a] != scores[b]) return scores[a] < scores[b];
    if (labels[a] != labels[b]) return labels[a] < labels[b];
    return weights[a] < weights[b];
  });
  double below = 0, ordered = 0, positives = 0;
  for (size_t i = 0; i < rows.size();) {
    double tied[2] = {0, 0};
    const float score = scores[rows[i]];
    for (; i < rows.size() && scores[rows[i]] == score; ++i)
      tied[labels[rows[i]] != 0 ? 1 : 0] += weights[rows[i]];
    ordered += tied[1] * (below + 0.5 * tied[0]);
    below += tied[0];
    positives += tied[1];
  }
  if (!(below > 0) || !(positives > 0)) return no_value(kOneClass);
  return {.value = ordered / (below * positives)};
}

Metric truth_auc(std::span<const float> scores, std::span<const double> probabilities) {
  US_CHECK(scores.size() == probabilities.size(), "one probability a score");
  require_finite(scores);
  for (size_t i = 0; i < probabilities.size(); ++i) {
    US_REQUIRE(probabilities[i] >= 0 && probabilities[i] <= 1,
               fmt::format("row {}: truth: expected 0 … 1, got {}", i, probabilities[i]));
  }
  const auto rows = sorted_rows(scores.size(), [&](uint32_t a, uint32_t b) {
    return scores[a] != scores[b] ? scores[a] < scores[b] : probabilities[a] < probabilities[b];
  });
  double below = 0, ordered = 0, positives = 0;
  for (size_t i = 0; i < rows.size();) {
    double tied_negatives = 0, tied_positives = 0;
    const float score = scores[rows[i]];
    for (; i < rows.size() && scores[rows[i]] == score; ++i) {
      tied_positives += probabilities[rows[i]];
      tied_negatives += 1.0 - probabilities[rows[i]];
    }
    ordered += tied_positives * (below + 0.5 * tied_negatives);
    below += tied_negatives;
    positives += tied_positives;
  }
  if (!(below > 0) || !(positives > 0)) return no_value(kOneClass);
  return {.value = ordered / (below * positives)};
}

std::vector<GroupAuc> group_aucs(std::span<const float> scores, std::span<const uint8_t> labels,
                                 std::span<const uint64_t> groups) {
  US_CHECK(scores.size() == labels.size() && scores.size() == groups.size(), "one label and group a score");
  require_finite(scores);
  GroupIndex index;
  std::vector<uint32_t> group_of(scores.size());
  std::vector<uint32_t> sizes;
  for (size_t i = 0; i < scores.size(); ++i) {
    group_of[i] = index(groups[i]);
    if (group_of[i] >= sizes.size()) sizes.push_back(0);
    ++sizes[group_of[i]];
  }
  // Scatter by group: positives from the front of a group's range, negatives from its back.
  std::vector<size_t> begin(sizes.size() + 1, 0);
  for (size_t g = 0; g < sizes.size(); ++g) begin[g + 1] = begin[g] + sizes[g];
  std::vector<size_t> front(begin.begin(), begin.end() - 1), back(begin.begin() + 1, begin.end());
  std::vector<uint32_t> keys(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const uint32_t g = group_of[i];
    keys[labels[i] != 0 ? front[g]++ : --back[g]] = score_key(scores[i]);
  }
  std::vector<GroupAuc> out(sizes.size());
  for (size_t g = 0; g < sizes.size(); ++g) {
    const auto first = keys.begin() + static_cast<int64_t>(begin[g]),
               middle = keys.begin() + static_cast<int64_t>(front[g]),
               last = keys.begin() + static_cast<int64_t>(begin[g + 1]);
    GroupAuc& group = out[g];
    group.group = index.keys()[g];
    group.rows = last - first;
    group.positives = middle - first;
    if (first == middle || middle == last) continue;
    // Only the (usually few) positives are sorted; each negative is looked up among them.
    std::sort(first, middle);
    int64_t twice = 0;
    for (auto negative = middle; negative != last; ++negative) {
      const auto [low, high] = std::equal_range(first, middle, *negative);
      twice += (middle - low) + (middle - high);
    }
    group.auc = static_cast<double>(twice) /
                (2.0 * static_cast<double>(group.positives) * static_cast<double>(last - middle));
  }
  std::sort(out.begin(), out.end(), [](const GroupAuc& a, const GroupAuc& b) { return a.group < b.group; });
  return out;
}

Metric gauc(std::span<const GroupAuc> groups, GroupWeight weight) {
  Metric metric;
  double sum = 0, total = 0;
  for (const GroupAuc& group : groups) {
    if (!group.auc) {
      ++metric.groups_dropped;
      continue;
    }
    ++metric.groups_used;
    const double w = weight == GroupWeight::Mean          ? 1.0
                     : weight == GroupWeight::Impressions ? static_cast<double>(group.rows)
                                                          : static_cast<double>(group.positives);
    sum += w * *group.auc;
    total += w;
  }
  if (metric.groups_used == 0) {
    metric.reason = "no group with both classes";
  } else {
    metric.value = sum / total;
  }
  return metric;
}

std::optional<double> window_auc(std::span<const float> scores, std::span<const uint8_t> labels) {
  for (float score : scores) {
    if (!std::isfinite(score)) return std::nullopt;
  }
  return auc(scores, labels).value;
}

}  // namespace uniscale::eval
