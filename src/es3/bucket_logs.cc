#include "es3/bucket_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

using table::Column;
using table::Table;
using table::Type;

// The declared columns stand inside `context` and `candidates`.
const std::vector<std::string> kRequestColumns = {"request_id", "domain", "user_id", "ts_ms", "query"};
const std::vector<std::string> kEventColumns = {"event_id", "domain", "action",   "user_id",
                                                "item_id",  "ts_ms",  "known_ms", "request_id"};

bool overlaps(const Span& span, base::Day day) {
  return span.begin_ms < day.end_ms() && day.begin_ms() < span.end_ms;
}

void check_day(base::Day day, int64_t ts_ms, const std::string& file) {
  US_REQUIRE(base::day_of(ts_ms) == day, fmt::format("{}: ts_ms: expected times of {}, got {}", file,
                                                     base::format_day(day), base::format_iso_time(ts_ms)));
}

const Column& require_whole(const Table& rows, std::string_view name, Type type, const std::string& where) {
  const Column& column = rows.require(name, type, where);
  require_no_nulls(column, name, where);
  return column;
}

// How much of the requests of a file is read.
enum class Depth : int8_t { Ids, Lists, Everything };

RequestTable open_request_table(Table rows, const schema::LogSchema& schema, Depth depth,
                                const std::string& file) {
  RequestTable opened;
  opened.rows = std::move(rows);
  if (depth == Depth::Ids) return opened;
  const Column& list = opened.rows.require("candidates", Type::List, file);
  const Column& candidate = list.child(0);
  US_REQUIRE(candidate.type() == Type::Struct,
             fmt::format("{}: candidates: expected a list of structs, got a list of {}", file,
                         table::type_name(candidate.type())));
  opened.candidates = &list;
  opened.candidate = &candidate;
  opened.item_id = candidate.find_child("item_id");
  require_type(opened.item_id, "candidates.item_id", Type::String, file);
  require_no_nulls(*opened.item_id, "candidates.item_id", file);
  opened.position = candidate.find_child("position");
  require_type(opened.position, "candidates.position", Type::Int32, file);
  if (depth == Depth::Lists) return opened;
  require_type(candidate.find_child("score"), "candidates.score", Type::Float, file);
  for (const schema::DeclaredColumn& column : schema.candidate) {
    require_type(candidate.find_child(column.name), "candidates." + column.name, column_type(column.type),
                 file);
  }
  if (schema.context.empty()) return opened;
  opened.context = &opened.rows.require("context", Type::Struct, file);
  for (const schema::DeclaredColumn& column : schema.context) {
    require_type(opened.context->find_child(column.name), "context." + column.name, column_type(column.type),
                 file);
  }
  return opened;
}

int32_t user_number(IdIndex& users, std::string_view user_id) {
  return user_id.empty() ? kNullUser : users.insert(user_id);
}

void append_requests(BucketLogs& logs, const logstore::LogStore& store, base::Day day,
                     const std::string& file, int32_t table_number, bool with_cross_domains) {
  const RequestTable& source = logs.request_tables[static_cast<size_t>(table_number)];
  const Table& rows = source.rows;
  const Column& request_id = require_whole(rows, "request_id", Type::String, file);
  const Column& domain = require_whole(rows, "domain", Type::String, file);
  const Column& user_id = rows.require("user_id", Type::String, file);
  const auto ts_ms = require_whole(rows, "ts_ms", Type::Int64, file).int64s();
  const Column& query = rows.require("query", Type::String, file);
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    const int64_t ts = ts_ms[static_cast<size_t>(i)];
    check_day(day, ts, file);
    const bool in_search = domain.string(i) == store.schema().search_domain;
    if (!in_search && !with_cross_domains) continue;
    RequestRow request;
    request.in_search = in_search;
    request.domain = logs.domains.insert(domain.string(i));
    request.request_id = request_id.string(i);
    request.query = query.string(i);
    request.ts_ms = ts;
    request.user = user_number(logs.users, user_id.string(i));
    request.table = table_number;
    request.row = static_cast<int32_t>(i);
    request.has_list = source.candidates != nullptr;
    if (request.has_list) {
      request.begin = static_cast<int32_t>(source.candidates->list_begin(i));
      request.end = static_cast<int32_t>(source.candidates->list_end(i));
    }
    logs.requests.push_back(request);
  }
}

void append_events(BucketLogs& logs, const logstore::LogStore& store, base::Day day, const std::string& file,
                   const Table& rows, const Span& span) {
  const Column& event_id = require_whole(rows, "event_id", Type::String, file);
  const Column& domain = require_whole(rows, "domain", Type::String, file);
  const Column& action = require_whole(rows, "action", Type::String, file);
  const Column& user_id = rows.require("user_id", Type::String, file);
  const Column& item_id = require_whole(rows, "item_id", Type::String, file);
  const auto ts_ms = require_whole(rows, "ts_ms", Type::Int64, file).int64s();
  const Column& known = rows.require("known_ms", Type::Int64, file);
  const auto known_ms = known.int64s();
  const Column& request_id = rows.require("request_id", Type::String, file);
  for (int64_t i = 0; i < rows.num_rows(); ++i) {
    const int64_t ts = ts_ms[static_cast<size_t>(i)];
    check_day(day, ts, file);
    if (!span.contains(ts)) continue;
    EventRow event;
    event.event_id = event_id.string(i);
    event.request_id = request_id.string(i);
    event.item_id = item_id.string(i);
    event.ts_ms = ts;
    event.known_ms = known.is_valid(i) ? known_ms[static_cast<size_t>(i)] : ts;
    event.user = user_number(logs.users, user_id.string(i));
    event.action_name = logs.actions.insert(action.string(i));
    event.domain = logs.domains.insert(domain.string(i));
    event.action = action_of(action.string(i));
    event.in_search = domain.string(i) == store.schema().search_domain;
    logs.events.push_back(event);
  }
}

struct RequestLess {
  const BucketLogs& logs;
  bool operator()(const RequestRow& a, const RequestRow& b) const {
    if (a.user != b.user) return a.user < b.user;
    if (a.ts_ms != b.ts_ms) return a.ts_ms < b.ts_ms;
    if (a.request_id != b.request_id) return a.request_id < b.request_id;
    return logs.domain_of(a) < logs.domain_of(b);
  }
};

struct EventLess {
  const BucketLogs& logs;
  bool operator()(const EventRow& a, const EventRow& b) const {
    if (a.user != b.user) return a.user < b.user;
    if (a.ts_ms != b.ts_ms) return a.ts_ms < b.ts_ms;
    if (a.event_id != b.event_id) return a.event_id < b.event_id;
    // Ids repeat only in logs without event ids: any order will do, if it is the same in every run.
    return std::tuple(a.item_id, logs.actions.id(a.action_name), logs.domains.id(a.domain), a.request_id,
                      a.known_ms) < std::tuple(b.item_id, logs.actions.id(b.action_name),
                                               logs.domains.id(b.domain), b.request_id, b.known_ms);
  }
};

template <class Row>
std::vector<size_t> user_offsets(const std::vector<Row>& rows, int32_t num_users) {
  std::vector<size_t> offsets(static_cast<size_t>(num_users) + 2, 0);
  for (const Row& row : rows) ++offsets[static_cast<size_t>(row.user) + 2];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

// Rows come user by user within each file; a counting pass brings the users of many days together, and what
// is left to sort inside a user is nearly always in order.
template <class Row, class Less>
std::vector<size_t> order_by_user(std::vector<Row>& rows, int32_t num_users, const Less& less) {
  const std::vector<size_t> offsets = user_offsets(rows, num_users);
  std::vector<size_t> next(offsets.begin(), offsets.end() - 1);
  std::vector<Row> ordered(rows.size());
  for (const Row& row : rows) ordered[next[static_cast<size_t>(row.user + 1)]++] = row;
  rows = std::move(ordered);
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(offsets[i]);
    const auto last = rows.begin() + static_cast<std::ptrdiff_t>(offsets[i + 1]);
    if (!std::is_sorted(first, last, less)) std::sort(first, last, less);
  }
  return offsets;
}

}  // namespace

table::Type column_type(schema::ValueType type) {
  switch (type) {
    case schema::ValueType::String:
      return Type::String;
    case schema::ValueType::Double:
      return Type::Double;
    case schema::ValueType::Int:
      return Type::Int64;
  }
  US_UNREACHABLE();
}

void require_type(const Column* column, std::string_view name, Type type, const std::string& where) {
  US_REQUIRE(column != nullptr && column->type() == type,
             fmt::format("{}: {}: expected a column of type {}, got {}", where, name, table::type_name(type),
                         column == nullptr ? "none" : table::type_name(column->type())));
}

void require_no_nulls(const Column& column, std::string_view name, const std::string& where) {
  if (!column.has_nulls()) return;
  for (int64_t i = 0; i < column.length(); ++i) {
    US_REQUIRE(column.is_valid(i),
               fmt::format("{}: {}: expected no nulls, got one in row {}", where, name, i));
  }
}

Action action_of(std::string_view name) {
  if (name == schema::kClick) return Action::Click;
  if (name == schema::kCart) return Action::Cart;
  if (name == schema::kPurchase) return Action::Purchase;
  return Action::Other;
}

std::pair<size_t, size_t> BucketLogs::requests_of(int32_t user) const {
  const size_t i = static_cast<size_t>(user + 1);
  return {request_offsets_[i], request_offsets_[i + 1]};
}

std::pair<size_t, size_t> BucketLogs::events_of(int32_t user) const {
  const size_t i = static_cast<size_t>(user + 1);
  return {event_offsets_[i], event_offsets_[i + 1]};
}

int32_t BucketLogs::find_candidate(const RequestRow& request, std::string_view item_id) const {
  int32_t found = -1;
  for (int32_t i = 0; i < request.end - request.begin; ++i) {
    if (this->item_id(request, i) != item_id) continue;
    if (is_exposed(request, i)) return i;
    if (found < 0) found = i;
  }
  return found;
}

BucketLogs load_bucket_logs(const logstore::LogStore& store, const DayRanges& ranges, int bucket, Load load) {
  BucketLogs logs;
  const std::vector<base::Day> days = store.days();
  for (const base::Day day : days) {
    if (day < ranges.first_day || ranges.last_day < day) continue;
    const bool in_requests = overlaps(ranges.requests, day);
    const bool with_lists = in_requests && load != Load::Ids;
    if (in_requests || overlaps(load == Load::Everything ? ranges.queries : ranges.ids, day)) {
      if (const auto file = store.requests_file(day, bucket)) {
        std::vector<std::string> columns = kRequestColumns;
        const Depth depth = !with_lists ? Depth::Ids
                            : day == ranges.day && ranges.has_rows && load == Load::Everything
                                ? Depth::Everything
                                : Depth::Lists;
        if (depth == Depth::Everything) {
          if (!store.schema().context.empty()) columns.push_back("context");
          columns.push_back("candidates");
        } else if (depth == Depth::Lists) {
          columns.push_back("candidates.item_id");
          columns.push_back("candidates.position");
          if (ranges.has_scores) columns.push_back("candidates.score");
        }
        const table::ParquetReader reader(*file, {"candidates.item_id"});
        for (int group = 0; group < reader.num_row_groups(); ++group) {
          logs.request_tables.push_back(
              open_request_table(reader.read_row_group(group, columns), store.schema(), depth, *file));
          append_requests(logs, store, day, *file, static_cast<int32_t>(logs.request_tables.size() - 1),
                          ranges.has_stages && (in_requests || overlaps(ranges.ids, day)));
        }
      }
    }
    const Span& events = load == Load::Ids ? ranges.labels : ranges.events;
    if (overlaps(events, day) && load != Load::Lists) {
      if (const auto file = store.events_file(day, bucket)) {
        const table::ParquetReader reader(*file);
        for (int group = 0; group < reader.num_row_groups(); ++group) {
          logs.event_tables.push_back(reader.read_row_group(group, kEventColumns));
          append_events(logs, store, day, *file, logs.event_tables.back(), events);
        }
      }
    }
  }
  logs.request_offsets_ = order_by_user(logs.requests, logs.users.size(), RequestLess{logs});
  logs.event_offsets_ = order_by_user(logs.events, logs.users.size(), EventLess{logs});
  for (size_t i = 1; i < logs.requests.size(); ++i) {
    const RequestRow& a = logs.requests[i - 1];
    const RequestRow& b = logs.requests[i];
    US_REQUIRE(
        a.user != b.user || a.ts_ms != b.ts_ms || a.request_id != b.request_id || a.domain != b.domain,
        fmt::format(
            "{}: requests, {}, bucket {}: expected one row per request, got request_id \"{}\" twice at {}",
            store.path(), base::format_day(base::day_of(a.ts_ms)), bucket, a.request_id,
            base::format_iso_time(a.ts_ms)));
  }
  return logs;
}

}  // namespace uniscale::es3
