#include "eval/bootstrap.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/random.h"
#include "base/threads.h"
#include "eval/detail/score_keys.h"

namespace uniscale::eval {
namespace {

// A row in rising score: its unit, its label, and whether it ends a block of tied rows.
struct Entry {
  uint32_t unit;
  uint8_t label;
  uint8_t ends_tie;
};

std::vector<Entry> sorted_entries(std::span<const float> scores, std::span<const uint8_t> labels,
                                  std::span<const uint32_t> units) {
  std::vector<std::pair<uint32_t, uint32_t>> order(scores.size());  // (key, row)
  for (size_t i = 0; i < order.size(); ++i) order[i] = {score_key(scores[i]), static_cast<uint32_t>(i)};
  std::sort(order.begin(), order.end());
  std::vector<Entry> entries(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t row = order[i].second;
    const bool ends = i + 1 == order.size() || order[i + 1].first != order[i].first;
    entries[i] = {units[row], static_cast<uint8_t>(labels[row] != 0 ? 1 : 0),
                  static_cast<uint8_t>(ends ? 1 : 0)};
  }
  return entries;
}

}  // namespace

Bootstrap::Bootstrap(size_t num_units, int num_resamples, uint64_t seed, int num_threads)
    : num_units_(num_units), num_resamples_(num_resamples), num_threads_(num_threads) {
  US_CHECK(num_resamples >= 0 && num_threads >= 1, "a count");
  const size_t num_blocks = (static_cast<size_t>(num_resamples) + kLanes - 1) / kLanes;
  counts_.assign(num_blocks * num_units * kLanes, 0);
  base::parallel_for(num_threads, num_resamples, [&](int64_t resample) {
    const auto r = static_cast<size_t>(resample);
    uint16_t* own = counts_.data() + r / kLanes * num_units * kLanes + r % kLanes;
    base::RandomStream random(seed, static_cast<uint64_t>(resample));
    for (size_t draw = 0; draw < num_units; ++draw) {
      uint16_t& count = own[random.below(num_units) * kLanes];
      if (count < UINT16_MAX) ++count;
    }
  });
}

std::vector<std::optional<double>> Bootstrap::ratios(std::span<const double> numerators,
                                                     std::span<const double> denominators) const {
  US_CHECK(numerators.size() == num_units_ && denominators.size() == num_units_, "one value a unit");
  std::vector<std::optional<double>> out(static_cast<size_t>(num_resamples_));
  base::parallel_for(num_threads_, num_resamples_, [&](int64_t resample) {
    const auto r = static_cast<size_t>(resample);
    const uint16_t* own = counts(r / kLanes) + r % kLanes;
    double numerator = 0, denominator = 0;
    for (size_t unit = 0; unit < num_units_; ++unit) {
      const double count = own[unit * kLanes];
      numerator += count * numerators[unit];
      denominator += count * denominators[unit];
    }
    if (denominator > 0) out[r] = numerator / denominator;
  });
  return out;
}

std::vector<std::optional<double>> Bootstrap::aucs(std::span<const float> scores,
                                                   std::span<const uint8_t> labels,
                                                   std::span<const uint32_t> units) const {
  US_CHECK(scores.size() == labels.size() && scores.size() == units.size(), "one value a row");
  const auto entries = sorted_entries(scores, labels, units);
  std::vector<std::optional<double>> out(static_cast<size_t>(num_resamples_));
  const int64_t num_blocks = (num_resamples_ + kLanes - 1) / kLanes;
  base::parallel_for(num_threads_, num_blocks, [&](int64_t block) {
    const uint16_t* own = counts(static_cast<size_t>(block));
    using Lanes = std::array<int64_t, kLanes>;
    Lanes below{}, twice{}, positives{};
    std::array<Lanes, 2> tied{};
    bool has_positive = false;
    for (const Entry& entry : entries) {
      Lanes& sum = tied[entry.label];
      const uint16_t* count = own + static_cast<size_t>(entry.unit) * kLanes;
      for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] += count[lane];
      has_positive = has_positive || entry.label != 0;
      if (entry.ends_tie == 0) continue;
      if (has_positive) {
        for (size_t lane = 0; lane < kLanes; ++lane) {
          twice[lane] += tied[1][lane] * (2 * below[lane] + tied[0][lane]);
          positives[lane] += tied[1][lane];
        }
      }
      for (size_t lane = 0; lane < kLanes; ++lane) below[lane] += tied[0][lane];
      tied = {};
      has_positive = false;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto l = static_cast<size_t>(lane);
      const auto r = static_cast<size_t>(block * kLanes + lane);
      if (r >= out.size() || positives[l] == 0 || below[l] == 0) continue;
      out[r] = static_cast<double>(twice[l]) /
               (2.0 * static_cast<double>(positives[l]) * static_cast<double>(below[l]));
    }
  });
  return out;
}

}  // namespace uniscale::eval
