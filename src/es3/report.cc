#include "es3/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::es3 {
namespace {

size_t delay_bin(int64_t delay_ms) {
  return static_cast<size_t>(std::upper_bound(kDelayBins.begin(), kDelayBins.end(), delay_ms) -
                             kDelayBins.begin());
}

// A count beside what it is to the first rung: "3.00x".
std::string relative(int64_t value, int64_t base) {
  return base == 0 ? "-" : fmt::format("{:.2f}x", static_cast<double>(value) / static_cast<double>(base));
}

json::Value ratio(int64_t value, int64_t base) {
  if (base == 0) return nullptr;
  return static_cast<double>(value) / static_cast<double>(base);
}

json::Value days_json(const std::vector<base::Day>& days) {
  json::Value list = json::Value::array();
  for (const base::Day day : days) list.push_back(base::format_day(day));
  return list;
}

}  // namespace

void StageReport::merge(const StageReport& other) {
  num_requests += other.num_requests;
  num_samples += other.num_samples;
  for (size_t task = 0; task < num_positives.size(); ++task) num_positives[task] += other.num_positives[task];
}

void PositiveCounts::merge(const PositiveCounts& other) {
  for (const auto& [key, bins] : other.cells) {
    auto& mine = cells[key];
    for (size_t bin = 0; bin < bins.size(); ++bin) mine[bin] += bins[bin];
  }
}

void StorageReport::merge(const StorageReport& other) {
  list_bytes += other.list_bytes;
  flat_sorted_bytes += other.flat_sorted_bytes;
  flat_shuffled_bytes += other.flat_shuffled_bytes;
}

void BucketReport::merge(const BucketReport& other) {
  if (ladder.empty()) {
    ladder = other.ladder;
  } else {
    US_CHECK(other.ladder.size() == ladder.size(), "reports of different ladders");
    for (size_t rung = 0; rung < ladder.size(); ++rung) ladder[rung].merge(other.ladder[rung]);
  }
  positives.merge(other.positives);
  events.merge(other.events);
  cross.merge(other.cross);
}

BucketReport report_draft(const Draft& draft, const Options& options, const EventCounts& events) {
  BucketReport report;
  report.events = events;
  std::array<int64_t, 4> num_items{};
  for (size_t origin = 0; origin < num_items.size(); ++origin)
    num_items[origin] = static_cast<int64_t>(draft.items[origin].candidates.size());
  int64_t num_searches = 0;
  for (const DraftRow& row : draft.rows) num_searches += row.tier == schema::QueryTier::None;
  // Positives by the stage that made them: native, attributed, searchified.
  std::array<std::array<int64_t, schema::kNumTasks>, 3> positives{};
  for (const Label& label : draft.labels) {
    const size_t stage = label.source == schema::LabelSource::Native  ? 0
                         : label.source == schema::LabelSource::Cross ? 2
                                                                      : 1;
    ++positives[stage][static_cast<size_t>(label.task)];
  }
  StageReport rung{"exposed", num_searches, num_items[0], positives[0]};
  report.ladder.push_back(rung);
  rung.name = "+ unexposed";
  rung.num_samples += num_items[1] - draft.num_joined;
  report.ladder.push_back(rung);
  const auto add_positives = [&](size_t stage) {
    for (size_t task = 0; task < schema::kNumTasks; ++task)
      rung.num_positives[task] += positives[stage][task];
  };
  if (options.attribution) {
    rung.name = "+ attribution";
    rung.num_samples += draft.num_joined;
    add_positives(1);
    report.ladder.push_back(rung);
  }
  if (options.searchify) {
    rung.name = "+ cross-domain";
    rung.num_requests = static_cast<int64_t>(draft.rows.size());
    rung.num_samples += num_items[2] + num_items[3];
    add_positives(2);
    report.ladder.push_back(rung);
  }
  for (const Label& label : draft.labels) {
    ++report.positives
          .cells[{label.task, label.source, std::string(label.domain)}][delay_bin(label.delay_ms)];
  }
  return report;
}

json::Value to_json(const DayReport& report) {
  json::Value out;
  out["day"] = base::format_day(report.day);
  out["state"] = report.is_final ? "final" : "provisional";
  out["missing_later_days"] = days_json(report.missing_later);
  out["missing_earlier_days"] = days_json(report.missing_earlier);
  json::Value ladder = json::Value::array();
  for (const StageReport& rung : report.counts.ladder) {
    const StageReport& first = report.counts.ladder.front();
    json::Value line;
    line["rung"] = rung.name;
    line["requests"] = rung.num_requests;
    line["samples"] = rung.num_samples;
    line["samples_ratio"] = ratio(rung.num_samples, first.num_samples);
    for (size_t task = 0; task < rung.num_positives.size(); ++task) {
      line[fmt::format("{}_positives", schema::kTaskNames[task])] = rung.num_positives[task];
    }
    line["click_positives_ratio"] = ratio(rung.num_positives[0], first.num_positives[0]);
    ladder.push_back(std::move(line));
  }
  out["ladder"] = std::move(ladder);
  json::Value positives = json::Value::array();
  for (const auto& [key, bins] : report.counts.positives.cells) {
    json::Value line;
    line["task"] = schema::kTaskNames[static_cast<size_t>(std::get<0>(key))];
    line["source"] = schema::kLabelSourceNames[static_cast<size_t>(std::get<1>(key))];
    line["domain"] = std::get<2>(key);
    int64_t sum = 0;
    for (const int64_t count : bins) sum += count;
    line["count"] = sum;
    json::Value delay;
    for (size_t bin = 0; bin < bins.size(); ++bin) delay[std::string(kDelayBinNames[bin])] = bins[bin];
    line["by_delay"] = std::move(delay);
    positives.push_back(std::move(line));
  }
  out["positives"] = std::move(positives);
  json::Value events;
  events["total"] = report.counts.events.num_events;
  for (int v = 0; v < kNumVerdicts; ++v) {
    json::Value line;
    for (int a = 0; a < kNumActions; ++a) {
      const int64_t count = report.counts.events.cells[static_cast<size_t>(v)][static_cast<size_t>(a)];
      if (count != 0) line[std::string(kActionNames[static_cast<size_t>(a)])] = count;
    }
    line["total"] = report.counts.events.of(static_cast<Verdict>(v));
    events[std::string(kVerdictNames[static_cast<size_t>(v)])] = std::move(line);
  }
  out["events"] = std::move(events);
  json::Value storage;
  storage["list_bytes"] = report.storage.list_bytes;
  if (report.storage.flat_sorted_bytes > 0) {
    storage["flat_sorted_bytes"] = report.storage.flat_sorted_bytes;
    storage["flat_shuffled_bytes"] = report.storage.flat_shuffled_bytes;
    storage["list_to_flat_sorted"] = ratio(report.storage.list_bytes, report.storage.flat_sorted_bytes);
    storage["list_to_flat_shuffled"] = ratio(report.storage.list_bytes, report.storage.flat_shuffled_bytes);
  }
  out["storage"] = std::move(storage);
  return out;
}

std::string to_text(const DayReport& report) {
  std::string out = fmt::format("samples {}, {}\n", base::format_day(report.day),
                                report.is_final ? "final" : "provisional");
  if (!report.missing_later.empty())
    out += fmt::format("  waits for {}\n", format_days(report.missing_later));
  if (!report.missing_earlier.empty())
    out += fmt::format("  look-back lacks {}\n", format_days(report.missing_earlier));
  out += fmt::format("\n  {:<14}{:>12}{:>14}{:>8}{:>10}{:>8}{:>10}{:>10}\n", "ladder", "requests", "samples",
                     "", "clicks", "", "carts", "purchases");
  for (const StageReport& rung : report.counts.ladder) {
    const StageReport& first = report.counts.ladder.front();
    out += fmt::format("  {:<14}{:>12}{:>14}{:>8}{:>10}{:>8}{:>10}{:>10}\n", rung.name, rung.num_requests,
                       rung.num_samples, relative(rung.num_samples, first.num_samples), rung.num_positives[0],
                       relative(rung.num_positives[0], first.num_positives[0]), rung.num_positives[1],
                       rung.num_positives[2]);
  }
  out += fmt::format("\n  {:<10}{:<14}{:<12}{:>10}   by delay\n", "positives", "source", "domain", "count");
  for (const auto& [key, bins] : report.counts.positives.cells) {
    int64_t sum = 0;
    std::string by_delay;
    for (size_t bin = 0; bin < bins.size(); ++bin) {
      sum += bins[bin];
      if (bins[bin] != 0)
        by_delay += fmt::format("{}{} {}", by_delay.empty() ? "" : ", ", kDelayBinNames[bin], bins[bin]);
    }
    out += fmt::format(
        "  {:<10}{:<14}{:<12}{:>10}   {}\n", schema::kTaskNames[static_cast<size_t>(std::get<0>(key))],
        schema::kLabelSourceNames[static_cast<size_t>(std::get<1>(key))], std::get<2>(key), sum, by_delay);
  }
  const EventCounts& events = report.counts.events;
  out += fmt::format("\n  {:<30}{:>10}{:>10}{:>10}{:>10}\n", "events of the day", "click", "cart", "purchase",
                     "other");
  for (int v = 0; v < kNumVerdicts; ++v) {
    const auto& line = events.cells[static_cast<size_t>(v)];
    const std::string name = fmt::format("{}{}", is_orphan(static_cast<Verdict>(v)) ? "  orphan: " : "",
                                         kVerdictNames[static_cast<size_t>(v)]);
    if (events.of(static_cast<Verdict>(v)) == 0) continue;
    out += fmt::format("  {:<30}{:>10}{:>10}{:>10}{:>10}\n", name, line[0], line[1], line[2], line[3]);
  }
  out +=
      fmt::format("  {:<30}{:>10} (every event is in one line above: checked)\n", "total", events.num_events);
  out += fmt::format("\n  storage: {} bytes list-wise", report.storage.list_bytes);
  if (report.storage.flat_sorted_bytes > 0) {
    out += fmt::format("; the same rows flat: {} bytes sorted by request ({}), {} bytes shuffled ({})",
                       report.storage.flat_sorted_bytes,
                       relative(report.storage.list_bytes, report.storage.flat_sorted_bytes),
                       report.storage.flat_shuffled_bytes,
                       relative(report.storage.list_bytes, report.storage.flat_shuffled_bytes));
  }
  return out + "\n";
}

std::string format_days(const std::vector<base::Day>& days) {
  std::string out;
  for (size_t i = 0; i < days.size();) {
    size_t j = i;
    while (j + 1 < days.size() && days[j + 1] == days[j].plus(1)) ++j;
    if (!out.empty()) out += ", ";
    out += base::format_day(days[i]);
    if (j > i) out += fmt::format(" … {}", base::format_day(days[j]));
    i = j + 1;
  }
  return out;
}

}  // namespace uniscale::es3
