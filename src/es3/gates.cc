#include "es3/gates.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "es3/report.h"
#include "es3/report_shares.h"
#include "json/json.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

constexpr std::array<std::string_view, kNumTiers> kTierGateNames = {"own_share", "co_share", "ann_share"};

// What is asked of one value.
struct Limits {
  double min = 0;
  double max = 0;
  bool has_min = false;
  bool has_max = false;
  bool asks() const { return has_min || has_max; }
  bool holds(double value) const { return (!has_min || value >= min) && (!has_max || value <= max); }
  std::string text() const {
    if (has_min && has_max) return fmt::format("{} to {}", min, max);
    return has_min ? fmt::format("at least {}", min) : fmt::format("at most {}", max);
  }
};

Limits share_limits(double min, double max) {
  return {.min = min, .max = max, .has_min = min > 0, .has_max = max < 1};
}

double median(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1
             ? static_cast<double>(values[half])
             : (static_cast<double>(values[half - 1]) + static_cast<double>(values[half])) / 2;
}

class Judge {
 public:
  Judge(const GateOptions& options, const std::vector<DayVolume>& before)
      : options_(options), before_(before) {}

  void volume(std::string_view name, int64_t DayVolume::* member, int64_t value) {
    const Limits limits{.min = options_.min_volume,
                        .max = options_.max_volume,
                        .has_min = options_.min_volume > 0,
                        .has_max = options_.max_volume > 0};
    if (!limits.asks()) return;
    if (static_cast<int64_t>(before_.size()) < options_.min_days) {
      add(name, GateState::NotJudged, limits,
          fmt::format("{} of the {} days before are published, {} are needed", before_.size(),
                      options_.median_days, options_.min_days));
      return;
    }
    std::vector<int64_t> values;
    for (const DayVolume& day : before_) values.push_back(day.*member);
    const double middle = median(std::move(values));
    // Nothing of nothing is as usual; something of nothing is above every limit.
    const bool holds =
        middle == 0 ? value == 0 || !limits.has_max : limits.holds(static_cast<double>(value) / middle);
    add(name, holds ? GateState::Passed : GateState::Failed, limits,
        middle == 0 ? fmt::format("{} where the median of {} days is 0", value, before_.size())
                    : fmt::format("{:.4f} ({} where the median of {} days is {})",
                                  static_cast<double>(value) / middle, value, before_.size(), middle));
  }

  void share(std::string_view name, const Limits& limits, const Share& share, std::string_view whole) {
    if (!limits.asks()) return;
    if (share.whole < options_.min_cases) {
      add(name, GateState::NotJudged, limits,
          fmt::format("{} {}, {} are needed", share.whole, whole, options_.min_cases));
      return;
    }
    add(name, limits.holds(share.value()) ? GateState::Passed : GateState::Failed, limits,
        fmt::format("{:.4f} ({} of {} {})", share.value(), share.part, share.whole, whole));
  }

  std::vector<GateResult> take() { return std::move(results_); }

 private:
  void add(std::string_view name, GateState state, const Limits& limits, std::string measured) {
    results_.push_back({std::string(name), state, limits.text(), std::move(measured)});
  }

  const GateOptions& options_;
  const std::vector<DayVolume>& before_;
  std::vector<GateResult> results_;
};

}  // namespace

const config::Section<GateOptions>& gate_section() {
  static const auto section =
      config::Section<GateOptions>("gates", "Quality gates of a day of samples")
          .field("median_days", &GateOptions::median_days,
                 "days before a day whose median its volume is compared with", {.min = 1, .max = 366})
          .field("min_days", &GateOptions::min_days,
                 "fewer published days among them, and volume is not judged", {.min = 1, .max = 366})
          .field("min_volume", &GateOptions::min_volume,
                 "least search requests, samples and events, each as a multiple of its median; 0: any",
                 {.min = 0, .max = 1e6})
          .field("max_volume", &GateOptions::max_volume, "most of the same; 0: any", {.min = 0, .max = 1e6})
          .field("max_orphan_share", &GateOptions::max_orphan_share,
                 "largest share of clicks, carts and purchases of the search domain that belong to no shown "
                 "item",
                 {.min = 0, .max = 1})
          .field("min_attribution_rate", &GateOptions::min_attribution_rate,
                 "least share of credited events among those of other domains and orphans",
                 {.min = 0, .max = 1})
          .field("max_attribution_rate", &GateOptions::max_attribution_rate, "largest of the same",
                 {.min = 0, .max = 1})
          .field("min_query_share", &GateOptions::min_query_share,
                 "least share of positives of other domains for which a tier found a query",
                 {.min = 0, .max = 1})
          .field("min_tier_shares", &GateOptions::min_tier_shares,
                 "least share of these positives by the tier that answered: own, co, ann",
                 {.min = 0, .max = 1})
          .field("max_tier_shares", &GateOptions::max_tier_shares, "largest of the same: own, co, ann",
                 {.min = 0, .max = 1})
          .field("min_click_rate", &GateOptions::min_click_rate,
                 "least share of exposed samples with a native click", {.min = 0, .max = 1})
          .field("max_click_rate", &GateOptions::max_click_rate, "largest of the same", {.min = 0, .max = 1})
          .field("min_cases", &GateOptions::min_cases, "a share of fewer cases is not judged",
                 {.min = 0, .max = 1e15});
  return section;
}

void check(const GateOptions& options) {
  const auto check_order = [](std::string_view low, double min, std::string_view high, double max) {
    US_REQUIRE(min <= max,
               fmt::format("gates.{}: expected at most gates.{} ({}), got {}", low, high, max, min));
  };
  for (const auto& [key, values] : {std::pair{"min_tier_shares", &options.min_tier_shares},
                                    std::pair{"max_tier_shares", &options.max_tier_shares}}) {
    US_REQUIRE(values->size() == kNumTiers,
               fmt::format("gates.{}: expected 3 values (own, co, ann), got {}", key, values->size()));
  }
  if (options.max_volume > 0) check_order("min_volume", options.min_volume, "max_volume", options.max_volume);
  check_order("min_days", static_cast<double>(options.min_days), "median_days",
              static_cast<double>(options.median_days));
  check_order("min_attribution_rate", options.min_attribution_rate, "max_attribution_rate",
              options.max_attribution_rate);
  check_order("min_click_rate", options.min_click_rate, "max_click_rate", options.max_click_rate);
  for (size_t tier = 0; tier < kNumTiers; ++tier)
    check_order("min_tier_shares", options.min_tier_shares[tier], "max_tier_shares",
                options.max_tier_shares[tier]);
}

std::string to_text(const GateResult& result) {
  return result.state == GateState::NotJudged
             ? fmt::format("{}: expected {}, not judged: {}", result.name, result.limit, result.measured)
             : fmt::format("{}: expected {}, got {}", result.name, result.limit, result.measured);
}

bool has_failed(const std::vector<GateResult>& results) {
  return std::any_of(results.begin(), results.end(),
                     [](const GateResult& result) { return result.state == GateState::Failed; });
}

std::vector<DayVolume> volumes_before(const std::string& samples, base::Day day, int64_t num_days) {
  std::vector<DayVolume> volumes;
  for (int64_t back = num_days; back >= 1; --back) {
    const base::Day other = day.plus(-static_cast<int>(back));
    const std::string part = table::day_part(other);
    const auto publication = table::read_publication(samples, part);
    if (!publication) continue;
    const std::string where = fmt::format("{}/manifests/{}.json", samples, part);
    const json::Value& report = json::member(publication->body, "report", where);
    const json::Value& ladder = json::member(report, "ladder", where);
    US_REQUIRE(ladder.is_array() && !ladder.empty(),
               fmt::format("{}: report: ladder: expected at least one rung", where));
    volumes.push_back({other, json::int_member(ladder.front(), "requests", where),
                       json::int_member(ladder.back(), "samples", where),
                       json::int_member(json::member(report, "events", where), "total", where)});
  }
  return volumes;
}

std::vector<GateResult> judge(const GateOptions& options, const DayReport& report,
                              const std::vector<DayVolume>& before) {
  const DayShares shares = shares_of(report);
  Judge judge(options, before);
  judge.volume("requests", &DayVolume::num_requests, report.counts.ladder.front().num_requests);
  judge.volume("samples", &DayVolume::num_samples, report.counts.ladder.back().num_samples);
  judge.volume("events", &DayVolume::num_events, report.counts.events.num_events);
  judge.share("orphan_share", share_limits(0, options.max_orphan_share), shares.orphans,
              "events of the search domain");
  judge.share("attribution_rate", share_limits(options.min_attribution_rate, options.max_attribution_rate),
              shares.attributed, "events of other domains and orphans");
  constexpr std::string_view kAsking = "positives of other domains with a negative";
  judge.share("query_share", share_limits(options.min_query_share, 1), shares.queries, kAsking);
  for (size_t tier = 0; tier < kNumTiers; ++tier)
    judge.share(kTierGateNames[tier],
                share_limits(options.min_tier_shares[tier], options.max_tier_shares[tier]),
                shares.tiers[tier], kAsking);
  judge.share("click_rate", share_limits(options.min_click_rate, options.max_click_rate), shares.click_rate,
              "exposed samples");
  return judge.take();
}

}  // namespace uniscale::es3
