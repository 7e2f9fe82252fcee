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

struct EventFate {
  const PlainEvent* event = nullptr;
  EventPath path;
  // After §1, §3 and §4: an orphan without a sample keeps its cause, an event of another domain of which
  // nothing was made is CrossDomain.
  Verdict fate = Verdict::OtherAction;
  // The search request that holds the label, or the request of its own in which a click was located.
  const PlainRequest* request = nullptr;
  schema::LabelSource source = schema::LabelSource::None;  // of a credit, and of the duplicates of it
  // What §4 made of a click that §3 used up (reuse_attributed).
  std::optional<Verdict> reused;
};
// Did a sample or a searchified request take the event in? (Events without a label action are none of both.)
bool is_used(Verdict fate);

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
struct PlainCross {
  const PlainEvent* event;
  const PlainRequest* request;                   // its own request g
  std::vector<const PlainEvent*> labels;         // carts and purchases that label it
  std::vector<const PlainCandidate*> negatives;  // most similar first
  schema::QueryTier tier = schema::QueryTier::None;
  std::string query;
  double score = 0;
};

// What past days teach (§3.2, §4). The twin asks its own logs; `why`, which holds few of them, the tables of
// past days.
class PastDays {
 public:
  virtual ~PastDays() = default;
  // On a day of stats_lookback before `event_day`, somebody natively clicked the item, or one of `category`
  // (null: none), under exactly this query.
  virtual bool was_clicked(const std::string& query, const std::string& item_id,
                           const std::optional<std::string>& category, base::Day event_day) = 0;
  struct CoQuery {
    std::string query;
    int64_t num_users = 0;
  };
  // The query under which most users natively clicked the item on the days before `day`, co_min_users at
  // least.
  virtual std::optional<CoQuery> co_query(const std::string& item_id, base::Day day) = 0;
  struct SimilarQuery {
    std::string query;
    double similarity = 0;
  };
  // Of the queries asked ann_min_count times or more on the days before `day`, the one most similar to the
  // item's embedding if there are embeddings of queries of its length, else to its title; ann_floor at least.
  virtual std::optional<SimilarQuery> similar_query(const PlainItem& item, base::Day day) = 0;
  // round((1 − p0)/p0), clamped, by the day before `day`.
  virtual int64_t auto_negatives(base::Day day) = 0;
};

// Everything the twin derives from a set of logs. Holds pointers into `logs`; all arguments outlive it.
class Twin {
 public:
  Twin(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options);
  // `past` is asked instead of the logs.
  Twin(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options, PastDays& past);

  // The samples stamped in `day`, by (bucket, ts_ms, request_id, user_id).
  std::vector<PlainSample> samples(const std::vector<schema::SequenceOptions>& sequences,
                                   base::Day day) const;
  // In the order of logs.events.
  const std::vector<EventFate>& fates() const { return fates_; }
  const std::vector<NativeEvent>& natives() const { return natives_; }
  const std::vector<PlainCredit>& credits() const { return credits_; }
  // The clicks that became positives.
  const std::vector<PlainCross>& cross_clicks() const { return cross_clicks_; }

 private:
  void follow_events();
  void settle(PastDays& past);

  const PlainLogs& logs_;
  const schema::LogSchema& schema_;
  const Options& options_;
  std::vector<NativeEvent> natives_;
  std::vector<EventFate> fates_;
  std::vector<PlainCredit> credits_;
  std::vector<PlainCross> cross_clicks_;
};

std::vector<PlainSample> reference_samples(const PlainLogs& logs, const schema::LogSchema& schema,
                                           const Options& options,
                                           const std::vector<schema::SequenceOptions>& sequences,
                                           base::Day day);

// Events stamped in `day` by fate and action. What belongs to a request of another domain on another day, a
// click or the cart that labels it, is counted as RequestOfOtherDay.
EventCounts reference_counts(const std::vector<EventFate>& fates, const schema::LogSchema& schema,
                             base::Day day);
EventCounts reference_counts(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                             base::Day day);

}  // namespace uniscale::es3
