// The logs of one user bucket around one day, in memory: rows as small structs that point into the columns
// they were read from, users as numbers, requests and events in one fixed order whatever the order in the
// files. Thread-safety: immutable after `load_bucket_logs`. Invariants: `requests` sorted by (user, ts_ms,
// request_id, domain), `events` by (user, ts_ms, event_id, …all other fields); null users are number -1 and
// come first; numbers of users follow no order of bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "es3/day_ranges.h"
#include "es3/detail/id_index.h"
#include "logstore/logstore.h"
#include "table/table.h"

namespace uniscale::es3 {

inline constexpr int32_t kNullUser = -1;

// A row group of requests and its candidate columns; lists are read for the days of `DayRanges::requests`
// only.
struct RequestTable {
  table::Table rows;
  const table::Column* candidates = nullptr;  // null: the lists were not read
  const table::Column* item_id = nullptr;
  const table::Column* position = nullptr;
  const table::Column* candidate = nullptr;  // the struct with score and declared columns
  const table::Column* context = nullptr;    // null: none declared
};

struct RequestRow {
  std::string_view request_id;
  std::string_view query;  // data() null = null
  int64_t ts_ms = 0;
  int32_t user = kNullUser;
  int32_t table = 0;
  int32_t row = 0;
  int32_t begin = 0;  // candidates [begin, end) of the table's child columns
  int32_t end = 0;
  int32_t domain = 0;  // in BucketLogs::domains
  bool in_search = false;
  bool has_list = false;

  int32_t num_candidates() const { return end - begin; }
};

// How a declared column stands in a file.
table::Type column_type(schema::ValueType type);
// Throw UserError naming the file `where`, the column, what was expected and what is there. `column` null:
// missing.
void require_type(const table::Column* column, std::string_view name, table::Type type,
                  const std::string& where);
void require_no_nulls(const table::Column& column, std::string_view name, const std::string& where);

// What an action means for labels; other actions feed histories only.
enum class Action : int8_t { Click = 0, Cart = 1, Purchase = 2, Other = 3 };
Action action_of(std::string_view name);

struct EventRow {
  std::string_view event_id;
  std::string_view request_id;  // empty = null
  std::string_view item_id;
  int64_t ts_ms = 0;
  int64_t known_ms = 0;
  int32_t user = kNullUser;
  int32_t action_name = 0;  // in BucketLogs::actions
  int32_t domain = 0;       // in BucketLogs::domains
  Action action = Action::Other;
  bool in_search = false;  // of the search domain
};

// Everything: what the kernels need. Ids: request ids and the events of `DayRanges::labels` alone, no lists.
// Lists: requests with the items and positions of their lists, no events.
enum class Load : int8_t { Everything, Ids, Lists };

struct BucketLogs {
  std::deque<RequestTable> request_tables;  // a deque: pointers into it stay
  std::deque<table::Table> event_tables;
  std::vector<RequestRow> requests;  // of the search domain; of the others too if the ranges have stages
  std::vector<EventRow> events;
  IdIndex users;
  IdIndex actions;
  IdIndex domains;

  std::string_view user_id(int32_t user) const { return user < 0 ? std::string_view() : users.id(user); }
  std::string_view domain_of(const RequestRow& request) const { return domains.id(request.domain); }
  std::string_view item_id(const RequestRow& request, int32_t candidate) const {
    return request_tables[static_cast<size_t>(request.table)].item_id->string(request.begin + candidate);
  }
  bool is_exposed(const RequestRow& request, int32_t candidate) const {
    return request_tables[static_cast<size_t>(request.table)].position->is_valid(request.begin + candidate);
  }
  // Rows of one user, [first, last).
  std::pair<size_t, size_t> requests_of(int32_t user) const;
  std::pair<size_t, size_t> events_of(int32_t user) const;
  // The first candidate with these bytes, exposed ones before others; -1 if the list lacks the item.
  int32_t find_candidate(const RequestRow& request, std::string_view item_id) const;

 private:
  friend BucketLogs load_bucket_logs(const logstore::LogStore&, const DayRanges&, int, Load);
  // offsets_[user + 1] … offsets_[user + 2]
  std::vector<size_t> request_offsets_;
  std::vector<size_t> event_offsets_;
};

// Days that were not published are passed over. Throws UserError (naming file and column) if a file breaks
// the log store's contract.
BucketLogs load_bucket_logs(const logstore::LogStore& store, const DayRanges& ranges, int bucket,
                            Load load = Load::Everything);

}  // namespace uniscale::es3
