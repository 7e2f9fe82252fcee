#include "es3/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "es3/report_remarks.h"
#include "es3/report_shares.h"

namespace uniscale::es3 {
namespace {

size_t delay_bin(int64_t delay_ms) {
  return static_cast<size_t>(std::upper_bound(kDelayBins.begin(), kDelayBins.end(), delay_ms) -
                             kDelayBins.begin());
}

json::Value ratio(int64_t value, int64_t base) {
  if (base == 0) return nullptr;
  return static_cast<double>(value) / static_cast<double>(base);
}

json::Value share_json(const Share& share) {
  json::Value out;
  out["part"] = share.part;
  out["whole"] = share.whole;
  out["share"] = ratio(share.part, share.whole);
  return out;
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
  num_clicked_searches += other.num_clicked_searches;
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
  int32_t last_row = -1;  // labels are ordered by row
  for (const Label& label : draft.labels) {
    if (label.source != schema::LabelSource::Native || label.task != schema::Task::Click) continue;
    report.num_clicked_searches += label.row != last_row;
    last_row = label.row;
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

namespace {

json::Value queries_json(const DayReport& report) {
  const CrossCounts& cross = report.counts.cross;
  json::Value out;
  out["click_rate_before"] =
      report.click_rate_before
          ? share_json({report.click_rate_before->num_clicked, report.click_rate_before->num_exposed})
          : json::Value(nullptr);
  out["negatives_per_positive"] = report.negatives_per_positive;
  out["positives"] = cross.num_positives;
  out["no_negative"] = cross.no_negative;
  out["no_query"] = cross.no_query;
  json::Value tiers;
  for (size_t tier = 0; tier < kNumTiers; ++tier) {
    json::Value line;
    line["used"] = cross.by_tier[tier];
    line["could_answer"] = cross.covered[tier];
    line["beside_own"] = cross.beside_own[tier];
    line["same_as_own"] = cross.same_as_own[tier];
    tiers[std::string(kQueryTierNames[tier])] = std::move(line);
  }
  out["tiers"] = std::move(tiers);
  out["ann_similarity_by_tenths"] = cross.ann_similarity;
  out["rows"] = cross.num_rows;
  out["negatives"] = cross.num_negatives;
  return out;
}

json::Value shares_json(const DayShares& shares) {
  json::Value out;
  out["orphans"] = share_json(shares.orphans);
  out["attributed"] = share_json(shares.attributed);
  out["matched"] = share_json(shares.matched);
  out["queries"] = share_json(shares.queries);
  for (size_t tier = 0; tier < kNumTiers; ++tier)
    out[fmt::format("{}_tier", kQueryTierNames[tier])] = share_json(shares.tiers[tier]);
  out["click_rate"] = share_json(shares.click_rate);
  return out;
}

// What a reader sees first.
json::Value trust_json(const DayReport& report) {
  json::Value out;
  out["verdict"] = verdict_of(report);
  out["published"] = !report.is_kept_aside;
  json::Value gates = json::Value::array();
  for (const GateResult& gate : report.gates) {
    json::Value line;
    line["gate"] = gate.name;
    line["state"] = kGateStateNames[static_cast<size_t>(gate.state)];
    line["limit"] = gate.limit;
    line["got"] = gate.measured;
    gates.push_back(std::move(line));
  }
  out["gates"] = std::move(gates);
  json::Value warnings = json::Value::array(), notes = json::Value::array();
  for (Remark& remark : remarks_on(report))
    (remark.kind == RemarkKind::Warning ? warnings : notes).push_back(std::move(remark.text));
  out["warnings"] = std::move(warnings);
  out["notes"] = std::move(notes);
  return out;
}

}  // namespace

json::Value to_json(const DayReport& report) {
  json::Value out;
  out["day"] = base::format_day(report.day);
  out["state"] = report.is_final ? "final" : "provisional";
  out["trust"] = trust_json(report);
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
  out["clicked_search_requests"] = report.counts.num_clicked_searches;
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
  json::Value orphans;
  for (int v = 0; v < kNumVerdicts; ++v) {
    if (!is_orphan(static_cast<Verdict>(v))) continue;
    json::Value line;
    int64_t sum = 0;
    for (size_t a = 0; a < kNumActions; ++a) {
      const int64_t count = report.counts.events.orphans[static_cast<size_t>(v)][a];
      sum += count;
      if (count != 0) line[std::string(kActionNames[a])] = count;
    }
    line["total"] = sum;
    orphans[std::string(kVerdictNames[static_cast<size_t>(v)])] = std::move(line);
  }
  out["orphans"] = std::move(orphans);
  out["queries"] = queries_json(report);
  out["shares"] = shares_json(shares_of(report));
  json::Value storage;
  storage["list_bytes"] = report.storage.list_bytes;
  if (report.storage.flat_sorted_bytes > 0) {
    storage["flat_sorted_bytes"] = report.storage.flat_sorted_bytes;
    storage["flat_shuffled_bytes"] = report.storage.flat_shuffled_bytes;
    storage["list_to_flat_sorted"] = ratio(report.storage.list_bytes, report.storage.flat_sorted_bytes);
    storage["list_to_flat_shuffled"] = ratio(report.storage.list_bytes, report.storage.flat_shuffled_bytes);
  }
  out["storage"] = std::move(storage);
  out["rules"] = report.rules;
  return out;
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
