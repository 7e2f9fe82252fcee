// Tiny nasty log stores for the tests of other rooms: few users, items and queries, so that windows overlap
// and every tie happens; awkward ids and texts, empty lists, null users, events without or with a wrong
// request. Independent of the marketplace: it has no causal model at all. Thread-safe: pure functions but for
// the folder that is written.
//
// Invariants (those of a store after cleaning, es3.md §0): an event_id, and a request_id within its domain,
// comes twice only if the copies are more than 2 days apart; no item comes twice in a list; no two versions
// of an item or user share ts_ms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "schema/log_schema.h"

namespace uniscale::synth {

struct SmallWorldOptions {
  base::Day first_day{20'513};  // 2026-03-01
  int num_days = 4;
  int max_users = 50;     // drawn in [1, max]
  int max_items = 30;     // drawn in [2, max]
  int max_requests = 80;  // drawn in [0, max], all domains
  int max_events = 160;   // drawn in [0, max]
  int max_candidates = 12;
  // Request and event ids that come again more than two days later.
  bool reuse_ids = true;
  // Most events belong to a request of their own, in any domain, and some are followed by a cart or purchase
  // elsewhere: many clicks of other domains find a request, similar items beside them and a query.
  bool cross_heavy = false;
  // Texts and ids that are NUL-bearing, right-to-left, not NFC, number-like, equal up to case.
  bool awkward_text = true;
};

struct SmallCandidate {
  std::string item_id;
  std::optional<int32_t> position;
  std::optional<float> score;
  std::optional<double> bm25;
};

struct SmallRequest {
  std::string request_id;
  std::string domain;
  std::optional<std::string> user_id;
  int64_t ts_ms = 0;
  std::optional<std::string> query;
  std::optional<std::string> device;
  std::vector<SmallCandidate> candidates;
};

struct SmallEvent {
  std::string event_id;
  std::string domain;
  std::string action;
  std::optional<std::string> user_id;
  std::string item_id;
  int64_t ts_ms = 0;
  int64_t known_ms = 0;
  std::optional<std::string> request_id;
  std::optional<int32_t> position;
  std::optional<double> value;
  std::optional<double> quantity;
};

struct SmallItem {
  std::string item_id;
  int64_t ts_ms = 0;
  std::optional<std::string> title;
  std::optional<std::string> category;
  std::optional<std::string> brand;
  std::optional<double> price;
  std::vector<float> embedding;  // empty = null
};

struct SmallUser {
  std::string user_id;
  int64_t ts_ms = 0;
  std::optional<std::string> segment;
  std::optional<int64_t> age;
};

struct SmallWorld {
  uint64_t seed = 0;
  schema::LogSchema schema;  // context device · candidate bm25 · item brand, price · user age, segment
  std::vector<schema::SequenceOptions> sequences;
  std::vector<base::Day> days;
  // In no particular order.
  std::vector<SmallRequest> requests;
  std::vector<SmallEvent> events;
  std::vector<SmallItem> items;
  std::vector<SmallUser> users;
};

// Rows in memory; the same seed and options give the same world.
SmallWorld draw_small_world(uint64_t seed, const SmallWorldOptions& options = {});

// Writes `world` as a log store: sorts into store order, publishes items, users and every day of `world.days`
// (a day without rows too). Rows outside these days are an InternalError. `row_group_rows` small: many row
// groups in a file.
void write_small_world(const SmallWorld& world, const std::string& store, int64_t row_group_rows = 8192);

// Both at once.
SmallWorld make_small_world(const std::string& store, uint64_t seed, const SmallWorldOptions& options = {});

}  // namespace uniscale::synth
