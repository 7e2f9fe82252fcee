// `[gates]`: which days of samples are good enough to be published (docs/decisions/gates.md). Every gate is
// off by default. Pure but for `volumes_before`; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "config/config.h"

namespace uniscale::es3 {

struct DayReport;

// Shares are of 0 … 1. A limit at the end of its range asks for nothing.
struct GateOptions {
  int64_t median_days = 7;
  int64_t min_days = 3;
  double min_volume = 0;  // of the median; 0: off
  double max_volume = 0;
  double max_orphan_share = 1;
  double min_attribution_rate = 0;
  double max_attribution_rate = 1;
  double min_query_share = 0;
  std::vector<double> min_tier_shares = {0, 0, 0};  // own, co, ann
  std::vector<double> max_tier_shares = {1, 1, 1};
  double min_click_rate = 0;
  double max_click_rate = 1;
  int64_t min_cases = 100;

  bool operator==(const GateOptions&) const = default;
};
const config::Section<GateOptions>& gate_section();

// Rules between keys. Throws UserError.
void check(const GateOptions& options);

enum class GateState : int8_t { Passed = 0, Failed, NotJudged };
inline constexpr std::string_view kGateStateNames[] = {"passed", "failed", "not_judged"};

// One gate on one day: "orphan_share: expected at most 0.05, got 0.13".
struct GateResult {
  std::string name;
  GateState state = GateState::Passed;
  std::string limit;     // "at most 0.05"
  std::string measured;  // "0.1300 (412 of 3169 events)", or why it was not judged
};
std::string to_text(const GateResult& result);
bool has_failed(const std::vector<GateResult>& results);

// How much a published day holds.
struct DayVolume {
  base::Day day;
  int64_t num_requests = 0;  // search requests
  int64_t num_samples = 0;   // of the last rung
  int64_t num_events = 0;
};
// Of the published days among the `num_days` before `day`, ascending. Throws UserError if a manifest is
// broken.
std::vector<DayVolume> volumes_before(const std::string& samples, base::Day day, int64_t num_days);

// Judges what is asked for, in the order of the options; an option that asks for nothing gives no result.
std::vector<GateResult> judge(const GateOptions& options, const DayReport& report,
                              const std::vector<DayVolume>& before);

}  // namespace uniscale::es3
