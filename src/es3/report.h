// What a day of samples is made of (es3.md §7): the ladder, positives by source, orphan causes, storage.
// Values and text; the one I/O is in build.cc.
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
#include "es3/native.h"
#include "es3/searchify.h"
#include "json/json.h"

namespace uniscale::es3 {

// How long after its request a positive came: upper ends of the bins, in ms; the last bin is open.
inline constexpr std::array<int64_t, 8> kDelayBins = {0,
                                                      base::kMinuteMs,
                                                      10 * base::kMinuteMs,
                                                      base::kHourMs,
                                                      6 * base::kHourMs,
                                                      24 * base::kHourMs,
                                                      48 * base::kHourMs,
                                                      72 * base::kHourMs};
inline constexpr std::array<std::string_view, 9> kDelayBinNames = {"<0",   "<1m",  "<10m", "<1h",  "<6h",
                                                                   "<24h", "<48h", "<72h", ">=72h"};

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
};

json::Value to_json(const DayReport& report);
std::string to_text(const DayReport& report);

// "2026-03-01, 2026-03-05 … 2026-03-07"
std::string format_days(const std::vector<base::Day>& days);

}  // namespace uniscale::es3
