#include "es3/report_shares.h"

namespace uniscale::es3 {

DayShares shares_of(const DayReport& report) {
  const EventCounts& events = report.counts.events;
  const CrossCounts& cross = report.counts.cross;
  DayShares shares;
  for (const auto& by_action : events.orphans) {
    for (const int64_t count : by_action) shares.orphans.part += count;
  }
  shares.orphans.whole = shares.orphans.part + events.of(Verdict::Native);
  shares.attributed.part = events.of(Verdict::Attributed);
  shares.attributed.whole = events.num_events - events.of(Verdict::OtherAction) - events.of(Verdict::Native);
  shares.matched = {
      shares.attributed.part + events.of(Verdict::DuplicateCredit) + events.of(Verdict::AlreadyLabelled),
      shares.attributed.whole};
  for (const int64_t count : cross.by_tier) shares.queries.part += count;
  shares.queries.whole = shares.queries.part + cross.no_query;
  for (size_t tier = 0; tier < kNumTiers; ++tier) {
    shares.tiers[tier] = {cross.by_tier[tier], shares.queries.whole};
    shares.agreement[tier] = {cross.same_as_own[tier], cross.beside_own[tier]};
  }
  if (!report.counts.ladder.empty()) {
    const StageReport& exposed = report.counts.ladder.front();
    shares.click_rate = {exposed.num_positives[0], exposed.num_samples};
  }
  return shares;
}

}  // namespace uniscale::es3
