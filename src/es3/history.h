// History features as of each request (es3.md §5): nothing stamped or known at or after it is visible.
// Pure function over one bucket's logs; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "es3/draft.h"
#include "schema/log_schema.h"

namespace uniscale::es3 {

struct HistoryEntry {
  int32_t index = 0;  // of an event, or of a request for the query history
  int32_t age_bucket = 0;
};

// The entries of every row of a draft, oldest first; slices stand in no particular order.
class HistoryList {
 public:
  explicit HistoryList(size_t num_rows) : slices_(num_rows) {}
  std::span<const HistoryEntry> of(size_t row) const {
    return std::span(entries_).subspan(slices_[row].begin, slices_[row].size);
  }
  // `newest_first`: the entries of `row`, given once.
  void set(size_t row, std::span<const HistoryEntry> newest_first);

 private:
  struct Slice {
    size_t begin = 0;
    size_t size = 0;
  };
  std::vector<HistoryEntry> entries_;
  std::vector<Slice> slices_;
};

struct Histories {
  std::vector<HistoryList> sequences;  // in the order of the config
  HistoryList queries;
};

// floor(log2(1 + seconds)) of a positive age.
int32_t age_bucket(int64_t age_ms);

Histories build_histories(const BucketLogs& logs, const Options& options,
                          const std::vector<schema::SequenceOptions>& sequences, const Draft& draft);

}  // namespace uniscale::es3
