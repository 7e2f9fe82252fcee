// What a day of samples is made of (es3.md §7): the ladder, positives by source and delay, query tiers, the
// ledger of events, storage, gates. Values and text; the I/O is in build.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/time.h"
#include "es3/draft.h"
#include "es3/gates.h"
#include "es3/native.h"
#include "es3/searchify.h"
#include "json/json.h"

namespace uniscale::es3 {

// How long after its request a positive came: upper ends of the bins, in ms; the last bin is open.
inline constexpr std::array<int64_t, 14> kDelayBins = {0,
                                                       10 * base::kSecondMs,
                                                       base::kMinuteMs,
                                                       3 * base::kMinuteMs,
                                                       10 * base::kMinuteMs,
                                                       30 * base::kMinuteMs,
                                                       base::kHourMs,
                                                       3 * base::kHourMs,
                                                       6 * base::kHourMs,
                                                       12 * base::kHourMs,
                                                       24 * base::kHourMs,
                                                       48 * base::kHourMs,
                                                       72 * base::kHourMs,
                                                       7 * base::kDayMs};
inline constexpr std::array<std::string_view, 15> kDelayBinNames = {"<0",   "<10s", "<1m",  "<3m", "<10m",
                                                                    "<30m", "<1h",  "<3h",  "<6h", "<12h",
                                                                    "<24h", "<48h", "<72h", "<7d", ">=7d"};

inline constexpr std::array<std::string_view, kNumTiers> kQueryTierNames = {"own", "co", "ann"};

// What one stage did to a draft: the same shape for every stage, so that the ladder is a list of them.
struct StageReport {
  std::string name;
  int64_t num_requests = 0;
  int64_t num_samples = 0;
  std::array<int64_t, schema::kNumTasks> num_positives{};
  void merge(const StageReport& other);
};

struct PositiveCounts {
  // (task, source, domain) → positives by delay bin.
  std::map<std::tuple<schema::Task, schema::LabelSource, std::string>,
           std::array<int64_t, kDelayBinNames.size()>>
      cells;
  void merge(const PositiveCounts& other);
};

struct BucketReport {
  std::vector<StageReport> ladder;  // cumulative: exposed; + unexposed; + attribution; + cross-domain
  PositiveCounts positives;
  EventCounts events;
  CrossCounts cross;
  int64_t num_clicked_searches = 0;  // search requests with a native click
  void merge(const BucketReport& other);
};

// The rungs of a finished draft.
BucketReport report_draft(const Draft& draft, const Options& options, const EventCounts& events);

// Bytes of the sample files against the same rows stored flat, one row a sample; 0 = not measured.
struct StorageReport {
  int64_t list_bytes = 0;
  int64_t flat_sorted_bytes = 0;
  int64_t flat_shuffled_bytes = 0;
  void merge(const StorageReport& other);
};

struct DayReport {
  base::Day day;
  bool is_final = false;
  std::vector<base::Day> missing_later;        // days the result still waits for
  std::vector<base::Day> missing_earlier;      // look-back days inside the store's span that it lacks
  std::optional<ClickRate> click_rate_before;  // of the day before: p0
  int64_t negatives_per_positive = 0;
  BucketReport counts;
  StorageReport storage;
  Options options;                // of the build
  std::string rules;              // the same and the sequences as text, without places, days and threads
  std::vector<GateResult> gates;  // of the gates that are set
  bool is_kept_aside = false;     // a gate failed and nobody allowed it: the day is not published
};

json::Value to_json(const DayReport& report);
// For a terminal; what stands in a log is printed by `printable` only.
std::string to_text(const DayReport& report);

// A name from a log as it may be shown: bytes that are not UTF-8, controls and marks that turn the direction
// of text become U+FFFD; at most `max_length` code points.
std::string printable(std::string_view name, size_t max_length = 60);

// "2026-03-01, 2026-03-05 … 2026-03-07"
std::string format_days(const std::vector<base::Day>& days);

}  // namespace uniscale::es3
