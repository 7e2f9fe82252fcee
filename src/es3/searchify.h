// Searchified requests (es3.md §4): a click of another domain becomes a search-like request with similar
// shown items as negatives and a synthesised query. Pure function over one bucket's logs; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "es3/candidate_items.h"
#include "es3/cross_clicks.h"
#include "es3/draft.h"

namespace uniscale::es3 {

inline constexpr int kNumTiers = 3;
// Similarities of tier 3 by tenths: [0, 0.1) … [0.9, 1].
inline constexpr int kSimilarityBins = 10;

// How the day's positives of other domains got their queries. A positive = the clicks of one g on one item.
struct CrossCounts {
  int64_t num_positives = 0;  // located, before anything is dropped
  int64_t no_negative = 0;
  int64_t no_query = 0;
  std::array<int64_t, kNumTiers> by_tier{};  // the tier that answered
  std::array<int64_t, kNumTiers> covered{};  // the tier would have answered, whether or not it was asked
  // Where tier 1 answers: how often tiers 2, 3 answer too, and how often they name the same query.
  std::array<int64_t, kNumTiers> beside_own{};
  std::array<int64_t, kNumTiers> same_as_own{};
  std::array<int64_t, kSimilarityBins> ann_similarity{};  // of the tier's answers that were used
  int64_t num_negatives = 0;
  int64_t num_rows = 0;
  void merge(const CrossCounts& other);
};

// N of §4 for clicks of a day whose day before had this click rate.
int64_t negatives_per_positive(const Options& options, const std::optional<ClickRate>& rate);

struct CrossStage {
  Draft draft;  // the rows of searchified requests, in the order of the file
  CrossCounts counts;
  EventCounts events;  // clicks of the day by what became of them
};

// `clicks`: of this bucket's requests of the day, with `request` set.
CrossStage searchify(const BucketLogs& logs, const Options& options, const DayRanges& ranges,
                     const NativeStage& native, const std::vector<StrayEvent>& strays, int bucket,
                     std::vector<CrossClick> clicks, const Knowledge& knowledge, CandidateItems& items);

}  // namespace uniscale::es3
