// Logs and samples as plain rows: what the slow twin (reference.h) and `why` work on, and what tests compare.
// Values, equality and text; reading from a log store and a sample set. Slow on purpose; nothing here is on
// the way of a build.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "logstore/logstore.h"
#include "schema/log_schema.h"
#include "schema/sample.h"

namespace uniscale::es3 {

using PlainValue = std::variant<std::monostate, std::string, double, int64_t>;
using PlainValues = std::vector<PlainValue>;  // in the order of the declared columns

struct PlainCandidate {
  std::string item_id;
  std::optional<int32_t> position;
  std::optional<float> score;
  PlainValues features;
};

struct PlainRequest {
  std::string request_id;
  std::string domain;
  std::optional<std::string> user_id;
  int64_t ts_ms = 0;
  std::optional<std::string> query;
  PlainValues context;
  std::vector<PlainCandidate> candidates;
};

struct PlainEvent {
  std::string event_id;
  std::string domain;
  std::string action;
  std::optional<std::string> user_id;
  std::string item_id;
  int64_t ts_ms = 0;
  int64_t known_ms = 0;
  std::optional<std::string> request_id;
};

struct PlainItem {
  std::string item_id;
  int64_t ts_ms = logstore::kEver;
  std::optional<std::string> title;
  std::optional<std::string> category;
  PlainValues features;
  std::vector<float> embedding = {};  // empty = null
};

struct PlainUser {
  std::string user_id;
  int64_t ts_ms = logstore::kEver;
  PlainValues features;
};

struct PlainLogs {
  std::vector<PlainRequest> requests;
  std::vector<PlainEvent> events;
  std::vector<PlainItem> items;
  std::vector<PlainUser> users;
};

struct PlainLabel {
  bool value = false;
  int8_t source = 0;
  std::optional<std::string> domain;
  std::optional<int64_t> delay_ms;
  float weight = 1;
  bool operator==(const PlainLabel&) const = default;
};

struct PlainSampleItem {
  std::string item_id;
  int8_t origin = 0;
  std::optional<int32_t> position;
  std::array<PlainLabel, schema::kNumTasks> labels;
  std::optional<float> score;
  PlainValues candidate_features;
  std::optional<std::string> title;
  std::optional<std::string> category;
  PlainValues item_features;
  bool operator==(const PlainSampleItem&) const = default;
};

struct PlainHistoryEntry {
  std::string item_id;
  std::string action;
  std::string domain;
  int32_t age_bucket = 0;
  bool operator==(const PlainHistoryEntry&) const = default;
};

struct PlainQueryEntry {
  std::string query;
  int32_t age_bucket = 0;
  bool operator==(const PlainQueryEntry&) const = default;
};

struct PlainSample {
  std::string request_id;
  std::string domain;
  std::optional<std::string> user_id;
  int64_t ts_ms = 0;
  std::optional<std::string> query;
  int8_t query_tier = 0;
  std::optional<float> query_score;
  PlainValues context;
  PlainValues user;
  std::vector<std::vector<PlainHistoryEntry>> histories;  // in the order of the sequences
  std::vector<PlainQueryEntry> queries;
  std::vector<PlainSampleItem> items;
  bool operator==(const PlainSample&) const = default;
};

// One line per row and per item, for messages of tests and `why`. Texts quoted, bytes outside printable ASCII
// as \xNN.
std::string to_text(const PlainSample& sample);
std::string quote_bytes(std::string_view text);

// What to take from a store; a row that no filter wants is dropped as it is read. Days that were not
// published are passed over.
struct PlainFilter {
  base::Day first_day;
  base::Day last_day;
  std::function<bool(const PlainRequest&)> requests;  // empty: none; sees id, domain, user and time only
  std::function<bool(const PlainEvent&)> events;      // empty: none
  bool entities = false;                              // items and users
};
PlainLogs read_logs(const logstore::LogStore& store, const PlainFilter& filter);

// The published samples of a day, bucket by bucket in the order of the files; empty if the day is not there.
std::vector<PlainSample> read_samples(const std::string& samples, base::Day day,
                                      const schema::LogSchema& schema,
                                      const std::vector<schema::SequenceOptions>& sequences);

}  // namespace uniscale::es3
