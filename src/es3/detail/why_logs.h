// The few rows of a log store that decide about given users and requests, and what its past days teach: what
// `why` hands to the slow twin instead of the whole store.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "es3/item_texts.h"
#include "es3/query_index.h"
#include "es3/reference.h"
#include "es3/statistics.h"
#include "logstore/logstore.h"

namespace uniscale::es3 {

// Requests and events of `users`, whatever names their requests, and what their events name; stamped near
// enough to [first_ms, last_ms] to matter there. Items, of those rows.
PlainLogs read_concerned(const logstore::LogStore& store, const Options& options, int64_t first_ms,
                         int64_t last_ms, const std::set<std::string>& users,
                         const std::set<std::string>& request_ids);

// Answers from the tables of past days beside the samples, by the parts that the build asks too; tables that
// are missing are made.
class TablePastDays : public PastDays {
 public:
  TablePastDays(const logstore::LogStore& store, const Options& options);
  bool was_clicked(const std::string& query, const std::string& item_id,
                   const std::optional<std::string>& category, base::Day event_day) override;
  std::optional<CoQuery> co_query(const std::string& item_id, base::Day day) override;
  std::optional<SimilarQuery> similar_query(const PlainItem& item, base::Day day) override;
  int64_t auto_negatives(base::Day day) override;

 private:
  struct Past {
    Statistics statistics;
    std::unique_ptr<const QuerySearch> queries;  // made when first asked
  };
  Past& past_of(base::Day day);
  const Statistics& statistics_of(base::Day day) { return past_of(day).statistics; }
  const logstore::LogStore& store_;
  const Options& options_;
  std::unique_ptr<EntityVersions> items_;
  std::unique_ptr<ItemTexts> texts_;
  std::map<base::Day, std::unique_ptr<Past>> by_day_;
  QueryIndex::Scratch scratch_;
};

}  // namespace uniscale::es3
