// Hierarchical label attribution (es3.md §3, paper §1): events of other domains, and search events that
// belong to no shown item, label the search samples of the same user and item. Pure function over one
// bucket's logs; thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "es3/draft.h"
#include "es3/item_texts.h"
#include "es3/native.h"
#include "es3/options.h"
#include "es3/query_index.h"
#include "es3/statistics.h"

namespace uniscale::es3 {

// What the stages of other domains need besides the bucket's logs. Its parts outlive its users.
struct Knowledge {
  const ItemTexts& items;
  const Statistics& statistics;
  const QuerySearch& queries;
  uint64_t hash_seed = 0;
};

// An event credited to a search sample.
struct Attribution {
  int32_t request = 0;
  int32_t candidate = 0;
  int32_t event = 0;                                             // in BucketLogs::events
  schema::LabelSource source = schema::LabelSource::HlaExposed;  // by level
};

struct AttributionStage {
  std::vector<Attribution> credits;  // by (request, candidate, ts_ms, event_id)
  std::vector<Verdict>
      fates;  // by event: Attributed, DuplicateCredit, AlreadyLabelled; else Native = untouched
  bool is_used(size_t event) const { return fates[event] != Verdict::Native; }
};

AttributionStage attribute(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                           const NativeStage& native, const Knowledge& knowledge);

// confidence(domain, action) × 2^(−delay / half_life), §3.5.
double credit_weight(const Options& options, std::string_view domain, Action action, int64_t delay_ms);

// Labels of the day's requests, and the undrawn candidates that were credited.
void add_attributed(const BucketLogs& logs, const Options& options, const AttributionStage& stage,
                    Draft& draft);

}  // namespace uniscale::es3
