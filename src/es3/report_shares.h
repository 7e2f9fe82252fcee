// The shares by which a day is judged: once for gates, warnings and pages. Pure; thread-safe.
#pragma once

#include <array>
#include <cstdint>

#include "es3/report.h"

namespace uniscale::es3 {

struct Share {
  int64_t part = 0;
  int64_t whole = 0;
  // 0 of nothing is 0.
  double value() const { return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole); }
};

struct DayShares {
  Share orphans;     // events of the search domain that belong to no shown item, of all its labelling events
  Share attributed;  // §3: credits, of the events offered: those of other domains, and orphans
  Share matched;     // §3: events that found a sample, credited or not, of the same
  Share queries;     // §4: positives that a tier answered, of those that asked
  std::array<Share, kNumTiers> tiers;      // §4: by tier, of the same
  std::array<Share, kNumTiers> agreement;  // §4: same query as tier 1, where both answer
  Share click_rate;                        // natively clicked, of exposed samples
};
DayShares shares_of(const DayReport& report);

}  // namespace uniscale::es3
