// The report of a day for a terminal, and names of logs as they may be shown anywhere.
#include <fmt/format.h>

#include "es3/report.h"
#include "es3/report_remarks.h"
#include "es3/report_shares.h"
#include "text/normalise.h"

namespace uniscale::es3 {
namespace {

// A count beside what it is to the first rung: "3.00x".
std::string relative(int64_t value, int64_t base) {
  return base == 0 ? "-" : fmt::format("{:.2f}x", static_cast<double>(value) / static_cast<double>(base));
}

std::string percent(const Share& share) {
  return share.whole == 0 ? "-" : fmt::format("{:.1f} %", 100 * share.value());
}

std::string trust_text(const DayReport& report) {
  std::string out = fmt::format("  {}\n", verdict_of(report));
  for (const GateResult& gate : report.gates) {
    if (gate.state != GateState::Passed)
      out += fmt::format("  {} {}\n", gate.state == GateState::Failed ? "✗" : "?", to_text(gate));
  }
  for (const Remark& remark : remarks_on(report))
    out += fmt::format("  {} {}\n", remark.kind == RemarkKind::Warning ? "!" : "-", remark.text);
  return out;
}

std::string ladder_text(const DayReport& report) {
  std::string out = fmt::format("\n  {:<14}{:>12}{:>14}{:>8}{:>10}{:>8}{:>10}{:>10}\n", "ladder", "requests",
                                "samples", "", "clicks", "", "carts", "purchases");
  for (const StageReport& rung : report.counts.ladder) {
    const StageReport& first = report.counts.ladder.front();
    out += fmt::format("  {:<14}{:>12}{:>14}{:>8}{:>10}{:>8}{:>10}{:>10}\n", rung.name, rung.num_requests,
                       rung.num_samples, relative(rung.num_samples, first.num_samples), rung.num_positives[0],
                       relative(rung.num_positives[0], first.num_positives[0]), rung.num_positives[1],
                       rung.num_positives[2]);
  }
  return out;
}

std::string positives_text(const DayReport& report) {
  std::string out =
      fmt::format("\n  {:<10}{:<14}{:<12}{:>10}   by delay\n", "positives", "source", "domain", "count");
  for (const auto& [key, bins] : report.counts.positives.cells) {
    int64_t sum = 0;
    std::string by_delay;
    for (size_t bin = 0; bin < bins.size(); ++bin) {
      sum += bins[bin];
      if (bins[bin] != 0)
        by_delay += fmt::format("{}{} {}", by_delay.empty() ? "" : ", ", kDelayBinNames[bin], bins[bin]);
    }
    out += fmt::format("  {:<10}{:<14}{:<12}{:>10}   {}\n",
                       schema::kTaskNames[static_cast<size_t>(std::get<0>(key))],
                       schema::kLabelSourceNames[static_cast<size_t>(std::get<1>(key))],
                       printable(std::get<2>(key)), sum, by_delay);
  }
  return out;
}

std::string queries_text(const DayReport& report) {
  const CrossCounts& cross = report.counts.cross;
  if (!report.options.searchify) return "";
  std::string out = fmt::format(
      "\n  other domains: {} positives; {} without a similar shown item, {} without a query; {} rows with {} "
      "negatives\n",
      cross.num_positives, cross.no_negative, cross.no_query, cross.num_rows, cross.num_negatives);
  const auto& rate = report.click_rate_before;
  out += fmt::format("  negatives per positive: {} (click rate of the day before: {})\n",
                     report.negatives_per_positive,
                     rate ? percent({rate->num_clicked, rate->num_exposed}) : "unknown");
  if (cross.num_positives == 0) return out;
  const DayShares shares = shares_of(report);
  out += fmt::format("\n  {:<14}{:>10}{:>10}{:>14}{:>14}{:>14}\n", "query tier", "used", "", "could answer",
                     "beside own", "same query");
  for (size_t tier = 0; tier < kNumTiers; ++tier) {
    out += fmt::format("  {} {:<12}{:>10}{:>10}{:>14}{:>14}{:>14}\n", tier + 1, kQueryTierNames[tier],
                       cross.by_tier[tier], percent(shares.tiers[tier]), cross.covered[tier],
                       cross.beside_own[tier], tier == 0 ? "-" : percent(shares.agreement[tier]));
  }
  std::string by_tenth;
  for (size_t bin = 0; bin < kSimilarityBins; ++bin) {
    if (cross.ann_similarity[bin] != 0)
      by_tenth += fmt::format("{}0.{}… {}", by_tenth.empty() ? "" : ", ", bin, cross.ann_similarity[bin]);
  }
  if (!by_tenth.empty()) out += fmt::format("  similarity of tier 3: {}\n", by_tenth);
  return out;
}

std::string ledger_text(const DayReport& report) {
  const EventCounts& events = report.counts.events;
  std::string out = fmt::format("\n  {:<30}{:>10}{:>10}{:>10}{:>10}\n", "events of the day", "click", "cart",
                                "purchase", "other");
  for (int v = 0; v < kNumVerdicts; ++v) {
    const auto verdict = static_cast<Verdict>(v);
    const auto& line = events.cells[static_cast<size_t>(v)];
    if (events.of(verdict) == 0) continue;
    const std::string name =
        fmt::format("{}{}", is_orphan(verdict) ? "  orphan: " : "", kVerdictNames[static_cast<size_t>(v)]);
    out += fmt::format("  {:<30}{:>10}{:>10}{:>10}{:>10}\n", name, line[0], line[1], line[2], line[3]);
  }
  out +=
      fmt::format("  {:<30}{:>10} (every event is in one line above: checked)\n", "total", events.num_events);
  const DayShares shares = shares_of(report);
  if (shares.orphans.part > 0) {
    out += fmt::format("\n  {:<30}{:>10}{:>10}{:>10}   whatever became of them\n",
                       "orphans of the search domain", "click", "cart", "purchase");
    for (int v = 0; v < kNumVerdicts; ++v) {
      const auto& line = events.orphans[static_cast<size_t>(v)];
      if (line[0] + line[1] + line[2] > 0)
        out += fmt::format("  {:<30}{:>10}{:>10}{:>10}\n", kVerdictNames[static_cast<size_t>(v)], line[0],
                           line[1], line[2]);
    }
    out += fmt::format("  {} of {} events of the search domain ({})\n", shares.orphans.part,
                       shares.orphans.whole, percent(shares.orphans));
  }
  if (report.options.attribution && shares.attributed.whole > 0)
    out += fmt::format("  attributed: {} of {} events of other domains and orphans ({}); {} found a sample\n",
                       shares.attributed.part, shares.attributed.whole, percent(shares.attributed),
                       percent(shares.matched));
  return out;
}

std::string storage_text(const DayReport& report) {
  std::string out = fmt::format("\n  storage: {} bytes list-wise", report.storage.list_bytes);
  if (report.storage.flat_sorted_bytes > 0) {
    out += fmt::format("; the same rows flat: {} bytes sorted by request ({}), {} bytes shuffled ({})",
                       report.storage.flat_sorted_bytes,
                       relative(report.storage.list_bytes, report.storage.flat_sorted_bytes),
                       report.storage.flat_shuffled_bytes,
                       relative(report.storage.list_bytes, report.storage.flat_shuffled_bytes));
  }
  return out + "\n";
}

// Controls, and marks that hide or turn text: zero-width and direction marks, line separators.
bool is_shown(char32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
  if (c == 0xad || c == 0x61c || c == 0xfeff) return false;
  return !((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           (c >= 0xe0000 && c <= 0xe0fff));
}

// Length of the UTF-8 sequence that begins here; 0 if there is none.
size_t sequence_length(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes.front());
  const size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
  if (length == 0 || length > bytes.size() || !text::is_valid_utf8(bytes.substr(0, length))) return 0;
  return length;
}

}  // namespace

std::string printable(std::string_view name, size_t max_length) {
  std::string out;
  size_t num_points = 0;
  for (size_t at = 0; at < name.size(); ++num_points) {
    if (num_points == max_length) return out + "…";
    const size_t length = sequence_length(name.substr(at));
    const std::string_view sequence = name.substr(at, std::max<size_t>(length, 1));
    char32_t point = 0;
    for (size_t i = 0; i < sequence.size(); ++i) {
      const auto byte = static_cast<unsigned char>(sequence[i]);
      const unsigned bits = i > 0 ? byte & 0x3fU : length == 1 ? byte : byte & (0x7fU >> length);
      point = point << 6U | bits;
    }
    if (length > 0 && is_shown(point)) {
      out += sequence;
    } else {
      out += "\xef\xbf\xbd";
    }
    at += sequence.size();
  }
  return out;
}

std::string to_text(const DayReport& report) {
  return fmt::format("samples {}, {}\n", base::format_day(report.day),
                     report.is_final ? "final" : "provisional") +
         trust_text(report) + ladder_text(report) + positives_text(report) + queries_text(report) +
         ledger_text(report) + storage_text(report);
}

}  // namespace uniscale::es3
