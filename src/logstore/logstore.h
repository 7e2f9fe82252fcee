// The log store ⓪ on disk (es3.md §0, docs/formats/log-store.md): builders that turn rows into its tables, a
// writer that publishes a day at once, and a reader by day and bucket.
//
//   <store>/requests/dt=YYYY-MM-DD/bucket=NNN/part-GGGGGG.parquet
//   <store>/events/dt=YYYY-MM-DD/bucket=NNN/part-GGGGGG.parquet
//   <store>/items/part-GGGGGG.parquet                 all versions, sorted by (item_id, ts_ms)
//   <store>/users/bucket=NNN/part-GGGGGG.parquet      all versions, sorted by (user_id, ts_ms)
//   <store>/manifests/{store,dt=YYYY-MM-DD,items,users}.json
//
// Requests of a bucket are sorted by (user_id, ts_ms, domain, request_id), events by (user_id, ts_ms,
// event_id); null users come first. Bytes compare as unsigned. Row groups hold at most kRowGroupRows requests
// or 16 × that many events.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "schema/log_schema.h"
#include "table/publication.h"
#include "table/table.h"

namespace uniscale::logstore {

inline constexpr int64_t kRowGroupRows = 8192;
// `ts_ms` of an item or user version that is valid from ever.
inline constexpr int64_t kEver = std::numeric_limits<int64_t>::min();

// Feature values of one row, in the order of the schema's declared columns. text.data() null or number NaN =
// null; Int columns hold exact int64 beside `is_null`.
struct FeatureValue {
  std::string_view text;
  double number = std::numeric_limits<double>::quiet_NaN();
  int64_t integer = 0;
  bool is_null = true;

  static FeatureValue of(std::string_view value) {
    return {.text = value, .is_null = value.data() == nullptr};
  }
  static FeatureValue of(double value) { return {.number = value, .is_null = value != value}; }
  static FeatureValue of(int64_t value) { return {.integer = value, .is_null = false}; }
};

// A column per declared name, filled row by row.
class FeatureColumns {
 public:
  explicit FeatureColumns(const std::vector<schema::DeclaredColumn>& columns);
  // Appends one row; `values` shorter than the columns: the rest is null.
  void push(const std::vector<FeatureValue>& values);
  // Struct-free: names and columns, consumed.
  std::vector<std::string> names() const;
  std::vector<table::Column> finish();

 private:
  struct One {
    schema::DeclaredColumn declared;
    table::StringVector strings;
    table::ValueVector<double> doubles;
    table::ValueVector<int64_t> ints;
  };
  std::vector<One> columns_;
};

struct Candidate {
  std::string_view item_id;
  std::optional<int32_t> position;  // nullopt: not shown
  std::optional<float> score;
  std::vector<FeatureValue> features;
};

// requests: request_id, domain, user_id?, ts_ms, query?, context struct (if declared), candidates
// list<struct<item_id, position?, score?, declared…>>.
class RequestsBuilder {
 public:
  explicit RequestsBuilder(const schema::LogSchema& schema);
  ~RequestsBuilder();
  RequestsBuilder(RequestsBuilder&&) noexcept;
  // user_id and query: data() null = null.
  void begin(std::string_view request_id, std::string_view domain, std::string_view user_id, int64_t ts_ms,
             std::string_view query, const std::vector<FeatureValue>& context);
  // A candidate of the request last begun.
  void candidate(const Candidate& candidate);
  int64_t num_rows() const;
  int64_t num_candidates() const;
  // The table of all rows since construction or the last finish; the builder is empty again.
  table::Table finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct Event {
  std::string_view event_id;
  std::string_view domain;
  std::string_view action;
  std::string_view user_id;  // data() null = null
  std::string_view item_id;
  int64_t ts_ms = 0;
  int64_t known_ms = 0;
  std::string_view request_id;  // data() null = null
  std::optional<int32_t> position;
  std::optional<double> value;
  std::optional<double> quantity;
};

// events: the fields of Event, in that order.
class EventsBuilder {
 public:
  EventsBuilder();
  ~EventsBuilder();
  EventsBuilder(EventsBuilder&&) noexcept;
  void push(const Event& event);
  int64_t num_rows() const;
  table::Table finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ItemVersion {
  std::string_view item_id;
  int64_t ts_ms = kEver;
  std::string_view title;     // data() null = null
  std::string_view category;  // path, "Clothing/Coats"
  std::vector<FeatureValue> features;
  std::vector<float> embedding;  // empty = null
};

// items: item_id, ts_ms, title?, category?, declared…, embedding list<float>? (only if any version has one).
class ItemsBuilder {
 public:
  explicit ItemsBuilder(const schema::LogSchema& schema);
  ~ItemsBuilder();
  ItemsBuilder(ItemsBuilder&&) noexcept;
  void push(const ItemVersion& item);
  int64_t num_rows() const;
  table::Table finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// users: user_id, ts_ms, declared….
class UsersBuilder {
 public:
  explicit UsersBuilder(const schema::LogSchema& schema);
  ~UsersBuilder();
  UsersBuilder(UsersBuilder&&) noexcept;
  void push(std::string_view user_id, int64_t ts_ms, const std::vector<FeatureValue>& features);
  int64_t num_rows() const;
  table::Table finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Makes the store (its folder and manifests/store.json with the schema) or checks that an existing one has
// the same schema; throws UserError naming the first difference.
void create_or_check_store(const std::string& store, const schema::LogSchema& schema);

// Hands tables, in store order, to the function it is given: a data file that need not be in memory at once.
using TableSource = std::function<void(const std::function<void(const table::Table&)>& sink)>;

// Publishes one day. `requests_of(bucket)` and `events_of(bucket)` style: the caller hands every bucket's
// sorted tables, in any order and from many threads; what is missing is an empty bucket (no file).
class DayWriter {
 public:
  DayWriter(const std::string& store, const schema::LogSchema& schema, base::Day day);
  ~DayWriter();
  DayWriter(const DayWriter&) = delete;
  DayWriter& operator=(const DayWriter&) = delete;
  // Each table becomes a row group; the rows of a bucket must already be in store order over all its tables.
  void write_bucket(int bucket, const std::vector<table::Table>& requests,
                    const std::vector<table::Table>& events);
  void write_bucket_from(int bucket, const TableSource& requests, const TableSource& events);
  // `body`: counts, input hashes, resolved config.
  void publish(json::Value body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Replaces the items (users) table as a whole; rows already sorted and free of duplicate (id, ts_ms).
void publish_items(const std::string& store, const std::vector<table::Table>& tables, json::Value body);
// `with_embeddings`: whether any item of the source has one; the row groups of a file must agree.
void publish_items_from(const std::string& store, const TableSource& tables, bool with_embeddings,
                        json::Value body);
void publish_users(const std::string& store, const std::vector<std::vector<table::Table>>& tables_by_bucket,
                   json::Value body);
// `tables_of` is called once a bucket, in order.
void publish_users_from(const std::string& store, int num_buckets,
                        const std::function<TableSource(int bucket)>& tables_of, json::Value body);

// Reads a store. Thread-safe.
class LogStore {
 public:
  // Throws UserError if there is no store or its manifest is broken.
  explicit LogStore(std::string store);
  const schema::LogSchema& schema() const { return schema_; }
  const std::string& path() const { return path_; }
  std::vector<base::Day> days() const;
  bool has_day(base::Day day) const;
  // Content hash of the day's manifest: what a sample manifest records as its input.
  std::string day_hash(base::Day day) const;
  // Absolute paths; nullopt = the day has no rows in that bucket. Throws NotReadyError if the day was not
  // published.
  std::optional<std::string> requests_file(base::Day day, int bucket) const;
  std::optional<std::string> events_file(base::Day day, int bucket) const;
  std::optional<std::string> items_file() const;
  std::optional<std::string> users_file(int bucket) const;

 private:
  // Throws NotReadyError if the day was not published.
  std::shared_ptr<const table::Publication> publication_of(base::Day day) const;

  std::string path_;
  schema::LogSchema schema_;
  std::shared_ptr<table::PublicationCache> publications_;
};

}  // namespace uniscale::logstore
