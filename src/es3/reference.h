// The slow twin of the sample builder: es3.md §1, §2, §5, §6 as nested loops over plain rows, every rule
// looking at all rows. Written from the text, not from the kernels; tests compare the two row for row.
#pragma once

#include <optional>
#include <vector>

#include "es3/native.h"
#include "es3/options.h"
#include "es3/plain_rows.h"

namespace uniscale::es3 {

// Where an event went (§1).
struct EventPath {
  Verdict verdict = Verdict::OtherAction;
  const PlainRequest* request = nullptr;  // the request it was held against, if one was found
};
EventPath follow_event(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                       const PlainEvent& event);

// The samples stamped in `day`, by (bucket, ts_ms, request_id, user_id).
std::vector<PlainSample> reference_samples(const PlainLogs& logs, const schema::LogSchema& schema,
                                           const Options& options,
                                           const std::vector<schema::SequenceOptions>& sequences,
                                           base::Day day);

// Events stamped in `day` by verdict and action.
EventCounts reference_counts(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             base::Day day);

}  // namespace uniscale::es3
