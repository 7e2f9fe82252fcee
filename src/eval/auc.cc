#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "eval/detail/score_keys.h"
#include "eval/metrics.h"

namespace uniscale::eval {
namespace {

constexpr const char* kOneClass = "one class only";
// Up to here comparing each with each is cheaper than sorting.
constexpr size_t kFewKeys = 24;

Metric no_value(std::string reason) { return {.reason = std::move(reason)}; }

// Twice the number of (positive, negative) pairs in the right order, a tie counting half; both sorted rising.
int64_t twice_ordered_pairs(std::span<const uint32_t> positives, std::span<const uint32_t> negatives) {
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

// The same number of unsorted keys, for few positives or few negatives: each against each. Four sums a pass
// are one vector register.
int64_t twice_ordered_pairs_of_few(std::span<const uint32_t> positives, std::span<const uint32_t> negatives) {
  const bool is_swapped = negatives.size() < positives.size();
  const std::span<const uint32_t> few = is_swapped ? negatives : positives;
  const std::span<const uint32_t> many = is_swapped ? positives : negatives;
  // Signed comparisons are what the vector units have.
  const auto order = [](uint32_t key) { return static_cast<int32_t>(key ^ 0x80000000U); };
  int64_t below = 0;  // 2 × (many < few) + (many = few)
  for (const uint32_t one : few) {
    const int32_t x = order(one);
    std::array<int32_t, 4> sums{};
    size_t i = 0;
    for (; i + 4 <= many.size(); i += 4) {
      for (size_t k = 0; k < 4; ++k) {
        const int32_t y = order(many[i + k]);
        sums[k] += static_cast<int32_t>(y < x) + static_cast<int32_t>(y <= x);
      }
    }
    for (; i < many.size(); ++i) {
      const int32_t y = order(many[i]);
      sums[0] += static_cast<int32_t>(y < x) + static_cast<int32_t>(y <= x);
    }
    below += int64_t{sums[0]} + sums[1] + sums[2] + sums[3];
  }
  const auto pairs = static_cast<int64_t>(few.size()) * static_cast<int64_t>(many.size());
  return is_swapped ? 2 * pairs - below : below;
}

// Dense numbers for group keys in order of first appearance: open addressing, grows by doubling.
class GroupIndex {
 public:
  GroupIndex() : slots_(1 << 10, 0) {}
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
  // Keeps the memory.
  void clear() {
    std::fill(slots_.begin(), slots_.end(), 0);
    keys_.clear();
    last_ = 0;
  }

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

// Rows scattered into parts by the upper bits of their group's hash, inside a part the positives first. A
// part with its groups fits into the second-level cache, where the random access of grouping is cheap.
class GroupParts {
 public:
  GroupParts(std::span<const float> scores, std::span<const uint8_t> labels, std::span<const uint64_t> groups)
      : groups_(std::make_unique_for_overwrite<uint64_t[]>(scores.size())),
        keys_(std::make_unique_for_overwrite<uint32_t[]>(scores.size())) {
    int bits = 0;
    while (bits < kMaxBits && (scores.size() >> bits) > kRowsOfPart) ++bits;
    const auto place = [&](size_t i) {
      const uint64_t part = bits == 0 ? 0 : base::mix64(groups[i]) >> (64 - bits);
      return static_cast<size_t>(2 * part + (labels[i] != 0 ? 0 : 1));
    };
    begin_.assign((size_t{2} << bits) + 1, 0);
    for (size_t i = 0; i < scores.size(); ++i) ++begin_[place(i) + 1];
    for (size_t p = 1; p < begin_.size(); ++p) begin_[p] += begin_[p - 1];
    std::vector<size_t> next(begin_.begin(), begin_.end() - 1);
    for (size_t i = 0; i < scores.size(); ++i) {
      const size_t at = next[place(i)]++;
      groups_[at] = groups[i];
      keys_[at] = score_key(scores[i]);
    }
  }
  size_t num_parts() const { return begin_.size() / 2; }
  std::span<const uint64_t> groups(size_t part, bool is_positive) const {
    return slice(groups_.get(), part, is_positive);
  }
  std::span<const uint32_t> keys(size_t part, bool is_positive) const {
    return slice(keys_.get(), part, is_positive);
  }

 private:
  static constexpr int kMaxBits = 12;
  static constexpr size_t kRowsOfPart = 65536;
  template <class T>
  std::span<const T> slice(const T* rows, size_t part, bool is_positive) const {
    const size_t p = 2 * part + (is_positive ? 0 : 1);
    return {rows + begin_[p], begin_[p + 1] - begin_[p]};
  }
  std::unique_ptr<uint64_t[]> groups_;
  std::unique_ptr<uint32_t[]> keys_;
  std::vector<size_t> begin_;
};

// The keys of one class of a part, by group.
class KeysByGroup {
 public:
  void assign(std::span<const uint64_t> groups, std::span<const uint32_t> keys, GroupIndex& index) {
    group_of_.resize(groups.size());
    end_.assign(index.keys().size(), 0);
    for (size_t i = 0; i < groups.size(); ++i) {
      group_of_[i] = index(groups[i]);
      if (group_of_[i] >= end_.size()) end_.resize(group_of_[i] + 1, 0);
      ++end_[group_of_[i]];
    }
    size_t begin = 0;
    for (size_t& end : end_) begin += std::exchange(end, begin);
    keys_.resize(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) keys_[end_[group_of_[i]]++] = keys[i];
  }
  std::span<uint32_t> of(size_t group) {
    if (group >= end_.size()) return {};
    const size_t begin = group == 0 ? 0 : end_[group - 1];
    return std::span(keys_).subspan(begin, end_[group] - begin);
  }

 private:
  std::vector<uint32_t> group_of_, keys_;
  std::vector<size_t> end_;
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
  const GroupParts parts(scores, labels, groups);
  std::vector<GroupAuc> out;
  GroupIndex index;
  KeysByGroup positives, negatives;
  for (size_t part = 0; part < parts.num_parts(); ++part) {
    index.clear();
    positives.assign(parts.groups(part, true), parts.keys(part, true), index);
    negatives.assign(parts.groups(part, false), parts.keys(part, false), index);
    for (size_t g = 0; g < index.keys().size(); ++g) {
      const std::span<uint32_t> above = positives.of(g), below = negatives.of(g);
      GroupAuc group{.group = index.keys()[g], .auc = {}};
      group.rows = static_cast<int64_t>(above.size() + below.size());
      group.positives = static_cast<int64_t>(above.size());
      if (!above.empty() && !below.empty()) {
        int64_t twice = 0;
        if (std::min(above.size(), below.size()) <= kFewKeys) {
          twice = twice_ordered_pairs_of_few(above, below);
        } else {
          std::sort(above.begin(), above.end());
          std::sort(below.begin(), below.end());
          twice = twice_ordered_pairs(above, below);
        }
        group.auc = static_cast<double>(twice) /
                    (2.0 * static_cast<double>(above.size()) * static_cast<double>(below.size()));
      }
      out.push_back(group);
    }
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
