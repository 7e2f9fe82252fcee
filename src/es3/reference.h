// The slow twin of the sample builder: es3.md §1 to §6 as nested loops over plain rows, every rule looking at
// all rows. Written from the text, not from the kernels; tests compare the two row for row.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "es3/native.h"
#include "es3/options.h"
#include "es3/plain_rows.h"
#include "schema/sample.h"

namespace uniscale::es3 {

// Where §1 leaves an event.
struct EventPath {
  Verdict verdict = Verdict::OtherAction;
  const PlainRequest* request = nullptr;  // the request it was held against, if one was found
};
EventPath follow_event(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                       const PlainEvent& event);

// Where an event ends after §1, §3 and §4. Every event has exactly one.
enum class Fate : int8_t {
  // Used.
  Native = 0,
  Attributed,       // a credit of §3
  DuplicateCredit,  // an earlier event has the credit of this user, item, action and request
  AlreadyLabelled,  // a sample was found, and it has the label by native events
  CrossPositive,    // a click that is a positive of a searchified request
  CrossLabel,       // a cart or purchase that labels such a click
  OtherAction,      // neither click, cart nor purchase: feeds histories only
  // Dropped, with its cause.
  Orphan,          // of the search domain and without a sample; its path has the cause
  NoSampleFound,   // of a cross domain, nothing in search to label and no click to join
  NoRequest,       // a click without a request of its own
  NoNegative,      // a click with nothing similar beside it
  NoQuery,         // a click that no tier gives a query
  LabelOfDropped,  // a cart or purchase whose click was dropped
};
inline constexpr int kNumFates = 13;
inline constexpr std::array<std::string_view, kNumFates> kFateNames = {
    "native",      "attributed",   "duplicate_credit", "already_labelled", "cross_positive",
    "cross_label", "other_action", "orphan",           "no_sample_found",  "no_request",
    "no_negative", "no_query",     "label_of_dropped"};
inline bool is_used(Fate fate) { return fate < Fate::Orphan; }

struct EventFate {
  const PlainEvent* event = nullptr;
  EventPath path;
  Fate fate = Fate::OtherAction;
  // The search request that holds the label, or the request of its own in which a click was located.
  const PlainRequest* request = nullptr;
  schema::LabelSource source = schema::LabelSource::None;  // of a credit, and of the duplicates of it
  // What §4 made of a click that §3 used up (reuse_attributed).
  std::optional<Fate> reused;
};

// A native event and its request.
struct NativeEvent {
  const PlainEvent* event;
  const PlainRequest* request;
};

// A credit of §3.5: `event` labels its item's sample in `request`.
struct PlainCredit {
  const PlainEvent* event;
  const PlainRequest* request;
  schema::LabelSource source;
};

// A located click of §4 with what was found for it.
struct CrossClick {
  const PlainEvent* event;
  const PlainRequest* request;                   // its own request g
  std::vector<const PlainEvent*> labels;         // carts and purchases that label it
  std::vector<const PlainCandidate*> negatives;  // most similar first
  schema::QueryTier tier = schema::QueryTier::None;
  std::string query;
  double score = 0;
};

// Everything the twin derives from a set of logs. Holds pointers into `logs`; all arguments outlive it.
class Twin {
 public:
  Twin(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options);

  // The samples stamped in `day`, by (bucket, ts_ms, request_id, user_id).
  std::vector<PlainSample> samples(const std::vector<schema::SequenceOptions>& sequences,
                                   base::Day day) const;
  // In the order of logs.events.
  const std::vector<EventFate>& fates() const { return fates_; }
  const std::vector<NativeEvent>& natives() const { return natives_; }
  const std::vector<PlainCredit>& credits() const { return credits_; }
  // The clicks that became positives.
  const std::vector<CrossClick>& cross_clicks() const { return cross_clicks_; }

 private:
  const PlainLogs& logs_;
  const schema::LogSchema& schema_;
  const Options& options_;
  std::vector<NativeEvent> natives_;
  std::vector<EventFate> fates_;
  std::vector<PlainCredit> credits_;
  std::vector<CrossClick> cross_clicks_;
};

std::vector<PlainSample> reference_samples(const PlainLogs& logs, const schema::LogSchema& schema,
                                           const Options& options,
                                           const std::vector<schema::SequenceOptions>& sequences,
                                           base::Day day);

// Events stamped in `day` by verdict of §1 and action.
EventCounts reference_counts(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             base::Day day);

// Events stamped in `day` by fate and action.
using FateCounts = std::array<std::array<int64_t, kNumActions>, kNumFates>;
FateCounts fate_counts(const std::vector<EventFate>& fates, base::Day day);

}  // namespace uniscale::es3
