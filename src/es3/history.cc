#include "es3/history.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace uniscale::es3 {
namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Which (action, domain) pairs of the bucket enter a sequence.
class Filter {
 public:
  Filter(const BucketLogs& logs, const schema::SequenceOptions& sequence) {
    for (int32_t i = 0; i < logs.actions.size(); ++i)
      actions_.push_back(contains(sequence.actions, logs.actions.id(i)));
    for (int32_t i = 0; i < logs.domains.size(); ++i) {
      domains_.push_back(sequence.domains.empty() || contains(sequence.domains, logs.domains.id(i)));
    }
  }
  bool passes(const EventRow& event) const {
    return actions_[static_cast<size_t>(event.action_name)] && domains_[static_cast<size_t>(event.domain)];
  }

 private:
  std::vector<bool> actions_;
  std::vector<bool> domains_;
};

// What one request at T may see.
struct View {
  int64_t now_ms;
  int64_t begin_ms;  // T - history_lookback, included
  int64_t end_ms;    // T - history_gap, excluded
};

// `sorted`: indices of rows by time. Collects the newest `limit` inside the view that `is_known` lets
// through.
template <class TimeOf, class IsKnown>
void collect(const std::vector<int32_t>& sorted, const View& view, int64_t limit, const TimeOf& time_of,
             const IsKnown& is_known, std::vector<HistoryEntry>& newest_first) {
  newest_first.clear();
  auto it = std::lower_bound(sorted.begin(), sorted.end(), view.end_ms,
                             [&](int32_t index, int64_t end_ms) { return time_of(index) < end_ms; });
  while (it != sorted.begin() && static_cast<int64_t>(newest_first.size()) < limit) {
    --it;
    if (time_of(*it) < view.begin_ms) break;
    if (is_known(*it)) newest_first.push_back({*it, age_bucket(view.now_ms - time_of(*it))});
  }
}

}  // namespace

int32_t age_bucket(int64_t age_ms) {
  return static_cast<int32_t>(std::bit_width(static_cast<uint64_t>(1 + age_ms / base::kSecondMs))) - 1;
}

void HistoryList::set(size_t row, std::span<const HistoryEntry> newest_first) {
  slices_[row] = {entries_.size(), newest_first.size()};
  entries_.insert(entries_.end(), newest_first.rbegin(), newest_first.rend());
}

Histories build_histories(const BucketLogs& logs, const Options& options,
                          const std::vector<schema::SequenceOptions>& sequences, const Draft& draft) {
  const size_t num_rows = draft.rows.size();
  Histories histories{std::vector<HistoryList>(sequences.size(), HistoryList(num_rows)),
                      HistoryList(num_rows)};
  std::vector<Filter> filters;
  for (const schema::SequenceOptions& sequence : sequences) filters.emplace_back(logs, sequence);

  // Requests are numbered user by user: in that order a user's own lists are made once.
  std::vector<int32_t> rows(num_rows);
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    return draft.rows[static_cast<size_t>(a)].request < draft.rows[static_cast<size_t>(b)].request;
  });

  int32_t current_user = kNullUser;
  std::vector<std::vector<int32_t>> events(sequences.size());
  std::vector<int32_t> queries;
  std::vector<HistoryEntry> newest_first;
  const auto event_time = [&](int32_t i) { return logs.events[static_cast<size_t>(i)].ts_ms; };
  const auto request_time = [&](int32_t i) { return logs.requests[static_cast<size_t>(i)].ts_ms; };
  for (const int32_t row : rows) {
    const RequestRow& request =
        logs.requests[static_cast<size_t>(draft.rows[static_cast<size_t>(row)].request)];
    if (request.user == kNullUser) continue;
    if (request.user != current_user) {
      current_user = request.user;
      const auto [first_event, last_event] = logs.events_of(current_user);
      for (size_t s = 0; s < sequences.size(); ++s) {
        events[s].clear();
        for (size_t i = first_event; i < last_event; ++i) {
          if (filters[s].passes(logs.events[i])) events[s].push_back(static_cast<int32_t>(i));
        }
      }
      queries.clear();
      const auto [first_request, last_request] = logs.requests_of(current_user);
      for (size_t i = first_request; i < last_request; ++i) {
        if (logs.requests[i].in_search && !logs.requests[i].query.empty())
          queries.push_back(static_cast<int32_t>(i));
      }
    }
    const View view{request.ts_ms, request.ts_ms - options.history_lookback.ms,
                    request.ts_ms - options.history_gap.ms};
    for (size_t s = 0; s < sequences.size(); ++s) {
      collect(
          events[s], view, options.history_length, event_time,
          [&](int32_t i) { return logs.events[static_cast<size_t>(i)].known_ms < request.ts_ms; },
          newest_first);
      histories.sequences[s].set(static_cast<size_t>(row), newest_first);
    }
    collect(
        queries, view, options.query_history_length, request_time, [](int32_t) { return true; },
        newest_first);
    histories.queries.set(static_cast<size_t>(row), newest_first);
  }
  return histories;
}

}  // namespace uniscale::es3
