// What the files of the slow twin share: rows found by walking all rows, and the steps of es3.md §3 and §4.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "es3/reference.h"
#include "text/similarity.h"

namespace uniscale::es3 {

bool is_in(const std::vector<std::string>& names, const std::string& name);
bool is_label_action(const std::string& action);
int64_t action_window_ms(const Options& options, const std::string& action);
// By (ts_ms, event_id).
bool is_earlier(const PlainEvent& a, const PlainEvent& b);
const PlainCandidate* candidate_of(const PlainRequest& request, const std::string& item_id);
// The version valid at `ts_ms`; null if there is none.
const PlainItem* item_at_time(const PlainLogs& logs, const std::string& item_id, int64_t ts_ms);

// §1 with `domain` in the place of the search domain, for an event of that domain.
EventPath follow_in_domain(const PlainLogs& logs, const std::string& domain, const Options& options,
                           const PlainEvent& event);
// The unexposed candidates that §2 draws.
std::vector<const PlainCandidate*> drawn(const PlainRequest& request, const Options& options,
                                         uint64_t hash_seed);
// Does an event of one of `actions` stamped at `as_of_ms` or before label (request, item) natively?
bool is_native(const std::vector<NativeEvent>& natives, const PlainRequest& request,
               const std::string& item_id, const std::vector<std::string>& actions, int64_t as_of_ms);
// confidence(domain, action) × 2^(−delay/half_life), §3.5.
double credit_weight(const Options& options, const PlainEvent& event, int64_t delay_ms);

// N-gram vectors of texts, each made once.
class TextVectors {
 public:
  explicit TextVectors(uint64_t hash_seed) : hash_seed_(hash_seed) {}
  const text::NgramVector& of(const std::string& raw_text);

 private:
  uint64_t hash_seed_;
  std::map<std::string, text::NgramVector> vectors_;
};

// Is the cosine a_dot/√a_norm greater than b_dot/√b_norm? Counts and their dots are not negative.
bool is_greater_cosine(int64_t a_dot, int64_t a_squared_norm, int64_t b_dot, int64_t b_squared_norm);

struct TwinInputs {
  const PlainLogs& logs;
  const schema::LogSchema& schema;
  const Options& options;
  const std::vector<NativeEvent>& natives;
  TextVectors& vectors;
  PastDays& past;
};

// PastDays as nested loops over the logs themselves.
class PlainPastDays : public PastDays {
 public:
  PlainPastDays(const PlainLogs& logs, const schema::LogSchema& schema, const Options& options,
                const std::vector<NativeEvent>& natives);
  bool was_clicked(const std::string& query, const std::string& item_id,
                   const std::optional<std::string>& category, base::Day event_day) override;
  std::optional<CoQuery> co_query(const std::string& item_id, base::Day day) override;
  std::optional<SimilarQuery> similar_query(const PlainItem& item, base::Day day) override;
  int64_t auto_negatives(base::Day day) override;

 private:
  // Is `ts_ms` on a day before `day` within stats_lookback?
  bool is_before(int64_t ts_ms, base::Day day) const;
  // Queries asked ann_min_count times or more on the days before `day`, ascending.
  std::vector<std::string> query_bank(base::Day day) const;
  const PlainLogs& logs_;
  const schema::LogSchema& schema_;
  const Options& options_;
  const std::vector<NativeEvent>& natives_;
  TextVectors vectors_;
  std::map<std::string, std::vector<float>> query_embeddings_;  // of the file that options name
};

// §3: gives each event of the input its fate where a sample was found, and returns the credits.
std::vector<PlainCredit> attribute_events(const TwinInputs& inputs, std::vector<EventFate>& fates);
// The samples among which §3 chooses for an event, and what it asks of each.
struct SampleView {
  const PlainRequest* request;
  schema::LabelSource level;  // by native state as of the event
  bool is_relevant;
  bool is_labelled;  // natively, for the event's action
};
std::vector<SampleView> samples_of_event(const TwinInputs& inputs, const PlainEvent& event);
// §4: gives the rest its fate, and returns the clicks that become positives.
std::vector<PlainCross> searchify_events(const TwinInputs& inputs, std::vector<EventFate>& fates);
// The query of a click by the first tier that answers. False if none does.
bool find_query(const TwinInputs& inputs, PlainCross& click);

// A candidate with position, score and features as of its request, without labels.
PlainSampleItem plain_sample_item(const PlainLogs& logs, const schema::LogSchema& schema,
                                  const PlainRequest& request, const PlainCandidate& candidate,
                                  schema::Origin origin);
// "x:" + domain + ":" + g.request_id + ":" + hex(stable_hash(query))
std::string cross_request_id(const PlainRequest& request, const std::string& query, uint64_t hash_seed);
// The requests that the clicks become (§4), without user features and histories.
struct CrossRow {
  PlainSample sample;
  const PlainRequest* request;
};
std::vector<CrossRow> cross_rows(const PlainLogs& logs, const schema::LogSchema& schema,
                                 const Options& options, const std::vector<PlainCross>& clicks);

}  // namespace uniscale::es3
