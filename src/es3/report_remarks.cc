#include "es3/report_remarks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "es3/report_shares.h"

namespace uniscale::es3 {
namespace {

// From here on a share is worth a word. No gate: gates are the user's.
constexpr double kManyOrphans = 0.05;
constexpr double kManyEarly = 0.01;
constexpr double kFewQueries = 0.5;
constexpr double kManyGuessed = 0.5;
constexpr double kPoorAgreement = 0.3;
constexpr double kManyLate = 0.25;
constexpr double kNearlyAll = 0.95;
constexpr int64_t kEnoughCases = 20;

std::string percent(const Share& share) { return fmt::format("{:.1f} %", 100 * share.value()); }

std::string_view hint_of(Verdict cause) {
  switch (cause) {
    case Verdict::UnknownRequest:
      return "they name requests that are not in the log: requests are lost or ids differ";
    case Verdict::ItemNotInList:
      return "their item is not in the list they name: lists are cut, or item ids are of another kind "
             "(variants)";
    case Verdict::NotExposed:
      return "their item is in the list, but not marked as shown: impressions are lost";
    case Verdict::BeforeRequest:
      return "they are stamped before their request: clocks differ by more than clock_skew";
    case Verdict::WindowPassed:
      return "they came after their window";
    default:
      return "they name no request and none of their user's showed the item within native_window";
  }
}

class Remarks {
 public:
  explicit Remarks(const DayReport& report) : report_(report), shares_(shares_of(report)) {}

  std::vector<Remark> run() {
    about_days();
    about_exposed();
    about_orphans();
    about_attribution();
    about_queries();
    if (report_.gates.empty())
      note("no quality gate is set: nothing but the ledger was checked ([gates] in the configuration)");
    std::stable_sort(remarks_.begin(), remarks_.end(),
                     [](const Remark& a, const Remark& b) { return a.kind < b.kind; });
    return std::move(remarks_);
  }

 private:
  void warn(std::string text) { remarks_.push_back({RemarkKind::Warning, std::move(text)}); }
  void note(std::string text) { remarks_.push_back({RemarkKind::Note, std::move(text)}); }

  // Positives of one task by delay, of the sources that `matches` takes.
  template <class Matches>
  std::array<int64_t, kDelayBinNames.size()> delays(schema::Task task, const Matches& matches) const {
    std::array<int64_t, kDelayBinNames.size()> sum{};
    for (const auto& [key, bins] : report_.counts.positives.cells) {
      if (std::get<0>(key) != task || !matches(std::get<1>(key))) continue;
      for (size_t bin = 0; bin < bins.size(); ++bin) sum[bin] += bins[bin];
    }
    return sum;
  }

  void about_days() {
    if (!report_.missing_later.empty())
      warn(fmt::format("provisional: {} not ingested yet; labels may still be added, and credits may move",
                       format_days(report_.missing_later)));
    if (!report_.missing_earlier.empty())
      warn(fmt::format("the look-back lacks {}: histories and statistics know less than they could",
                       format_days(report_.missing_earlier)));
  }

  void about_exposed() {
    const StageReport& exposed = report_.counts.ladder.front();
    const int64_t clicks = exposed.num_positives[0];
    if (exposed.num_requests == 0) {
      warn("no search request on this day");
      return;
    }
    if (clicks == 0) {
      warn("no exposed sample has a native click");
    } else if (exposed.num_requests >= kEnoughCases &&
               static_cast<double>(report_.counts.num_clicked_searches) >=
                   kNearlyAll * static_cast<double>(exposed.num_requests)) {
      warn(fmt::format(
          "{} of {} search requests have a click: lists without one seem not to be logged, so no rate "
          "of clicks can be learned",
          report_.counts.num_clicked_searches, exposed.num_requests));
    }
    if (report_.counts.ladder.size() > 1 && report_.counts.ladder[1].num_samples == exposed.num_samples)
      warn(
          "no unexposed candidate: the log holds shown items only, or none may be drawn; the set does not "
          "cover the entire space");
    const auto native =
        delays(schema::Task::Click, [](auto source) { return source == schema::LabelSource::Native; });
    const Share early{native.front(), clicks};
    if (early.value() > kManyEarly && early.part >= kEnoughCases)
      warn(fmt::format("{} of native clicks are stamped before their request (within clock_skew)",
                       percent(early)));
  }

  void about_orphans() {
    if (shares_.orphans.value() <= kManyOrphans || shares_.orphans.part == 0) return;
    Verdict cause = Verdict::UnknownRequest;
    int64_t most = 0;
    for (int v = 0; v < kNumVerdicts; ++v) {
      int64_t count = 0;
      for (const int64_t by_action : report_.counts.events.orphans[static_cast<size_t>(v)])
        count += by_action;
      if (count > most) {
        most = count;
        cause = static_cast<Verdict>(v);
      }
    }
    warn(fmt::format("{} of the search domain's events are orphans ({} of {}); most ({}) by {}: {}",
                     percent(shares_.orphans), shares_.orphans.part, shares_.orphans.whole, most,
                     kVerdictNames[static_cast<size_t>(cause)], hint_of(cause)));
  }

  void about_attribution() {
    if (!report_.options.attribution) {
      note("attribution is off: events of other domains and orphans label no search sample");
      return;
    }
    const auto is_credit = [](schema::LabelSource source) {
      return source != schema::LabelSource::Native && source != schema::LabelSource::Cross;
    };
    int64_t credits = 0;
    for (size_t t = 0; t < schema::kNumTasks; ++t) {
      const auto task = static_cast<schema::Task>(t);
      const auto bins = delays(task, is_credit);
      Share late;
      for (size_t bin = 0; bin < bins.size(); ++bin) {
        late.whole += bins[bin];
        // Closure gives click labels of carts and purchases, whose window is theirs.
        if (bin > 0 && kDelayBins[bin - 1] >= window_of(report_.options, task).ms / 2) late.part += bins[bin];
      }
      if (t == 0) credits = late.whole;
      if (task != schema::Task::Click && late.whole >= kEnoughCases && late.value() > kManyLate)
        warn(fmt::format("{} of attributed {}s came in the second half of {}_window: it cuts the curve off",
                         percent(late), schema::kTaskNames[t], schema::kTaskNames[t]));
    }
    const int64_t native = report_.counts.ladder.front().num_positives[0];
    if (credits > native && credits >= kEnoughCases)
      warn(fmt::format("more attributed click positives ({}) than native ones ({})", credits, native));
  }

  void about_queries() {
    if (!report_.options.searchify) {
      note("searchified requests are off: clicks of other domains make no rows");
      return;
    }
    const CrossCounts& cross = report_.counts.cross;
    if (cross.num_positives == 0) return;
    if (!report_.click_rate_before && report_.options.negatives_per_positive == 0)
      note(fmt::format("no statistics of the day before: {} negatives per positive are a default",
                       report_.negatives_per_positive));
    const Share no_negative{cross.no_negative, cross.num_positives};
    if (no_negative.value() > kFewQueries)
      warn(
          fmt::format("{} of the positives of other domains have no similar item shown beside them and "
                      "were dropped",
                      percent(no_negative)));
    if (shares_.queries.whole > 0 && shares_.queries.value() < kFewQueries)
      warn(fmt::format("a query was found for only {} of the positives of other domains ({} of {})",
                       percent(shares_.queries), shares_.queries.part, shares_.queries.whole));
    const Share guessed{cross.by_tier[2], shares_.queries.part};
    if (guessed.part >= kEnoughCases && guessed.value() > kManyGuessed)
      warn(fmt::format("{} of the synthesised queries are only the nearest text to a title (tier 3)",
                       percent(guessed)));
    for (size_t tier = 1; tier < kNumTiers; ++tier) {
      const Share& agreement = shares_.agreement[tier];
      if (agreement.whole >= kEnoughCases && agreement.value() < kPoorAgreement)
        note(fmt::format("where the user's own query is known, tier {} names the same in {} ({} of {})",
                         tier + 1, percent(agreement), agreement.part, agreement.whole));
    }
  }

  const DayReport& report_;
  const DayShares shares_;
  std::vector<Remark> remarks_;
};

}  // namespace

std::string verdict_of(const DayReport& report) {
  if (report.gates.empty()) return "gates: none set";
  std::string failed;
  int64_t num_passed = 0, num_open = 0;
  for (const GateResult& gate : report.gates) {
    num_passed += gate.state == GateState::Passed;
    num_open += gate.state == GateState::NotJudged;
    if (gate.state == GateState::Failed) failed += (failed.empty() ? "" : ", ") + gate.name;
  }
  if (!failed.empty())
    return fmt::format("FAILED, {}: {}", report.is_kept_aside ? "not published" : "published all the same",
                       failed);
  return fmt::format("gates: {} passed{}", num_passed,
                     num_open > 0 ? fmt::format(", {} not judged", num_open) : "");
}

std::vector<Remark> remarks_on(const DayReport& report) { return Remarks(report).run(); }

}  // namespace uniscale::es3
