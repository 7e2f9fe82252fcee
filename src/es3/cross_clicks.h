// Clicks of other domains that attribution left over, located in their own requests, with the carts and
// purchases that label them and the user's own query for the item (es3.md §4). The user's side: everything
// here is found in the bucket of the click's user; the request g may stand in another bucket. Pure;
// thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "es3/attribute.h"

namespace uniscale::es3 {

// The cart or purchase that labels a located click.
struct CrossLabel {
  int64_t ts_ms = 0;
  std::string event_id;
  std::string domain;
};

// A click located in a request g of the day. Texts are owned: a click may travel to the bucket of g.
struct CrossClick {
  int32_t request = -1;  // g in the logs of this bucket; −1: g is that of `stray`
  int32_t stray = -1;
  int32_t candidate = -1;
  bool was_used = false;  // by attribution, and reused: the ledger has it already
  int64_t ts_ms = 0;
  std::string event_id;
  std::string domain;
  std::optional<std::string> own_query;             // tier 1
  std::array<std::optional<CrossLabel>, 2> labels;  // cart, purchase
};

struct CrossClickStage {
  std::vector<CrossClick> clicks;
  // By event: CrossLabel, DuplicateCredit, RequestOfOtherDay, NoRequest; Native = another stage decides;
  // clicks of `clicks` are CrossPositive until the searchified requests are made.
  std::vector<Verdict> fates;
};

CrossClickStage collect_cross_clicks(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                                     const NativeStage& native, const AttributionStage& attribution,
                                     const OwnQueries& own_queries, const std::vector<StrayEvent>& strays);

}  // namespace uniscale::es3
