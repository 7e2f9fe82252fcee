#include "synth/small_world.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "logstore/logstore.h"
#include "synth/detail/read_back.h"

namespace uniscale::synth {
namespace {

constexpr int64_t kIdWindowMs = 2 * base::kDayMs;

void expect_apart(const std::map<std::string, std::vector<int64_t>>& used, const std::string& what) {
  for (const auto& [id, times] : used) {
    for (size_t i = 0; i < times.size(); ++i) {
      for (size_t j = 0; j < i; ++j)
        EXPECT_GT(std::abs(times[i] - times[j]), kIdWindowMs) << what << " " << id;
    }
  }
}

TEST(SmallWorld, KeepsTheInvariantsOfACleanedStore) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const SmallWorld world = draw_small_world(seed);
    std::map<std::string, std::map<std::string, std::vector<int64_t>>> requests;
    for (const SmallRequest& r : world.requests) {
      requests[r.domain][r.request_id].push_back(r.ts_ms);
      EXPECT_FALSE(r.request_id.empty());
      EXPECT_TRUE(!r.user_id || !r.user_id->empty());
      EXPECT_GE(r.ts_ms, world.days.front().begin_ms());
      EXPECT_LT(r.ts_ms, world.days.back().end_ms());
      std::set<std::string> items;
      for (const SmallCandidate& c : r.candidates) {
        EXPECT_TRUE(items.insert(c.item_id).second);
        EXPECT_FALSE(c.item_id.empty());
      }
    }
    for (const auto& [domain, used] : requests) expect_apart(used, "request");
    std::map<std::string, std::vector<int64_t>> events;
    for (const SmallEvent& e : world.events) {
      events[e.event_id].push_back(e.ts_ms);
      EXPECT_GE(e.known_ms, e.ts_ms);
      EXPECT_GE(e.ts_ms, world.days.front().begin_ms());
      EXPECT_LT(e.ts_ms, world.days.back().end_ms());
    }
    expect_apart(events, "event");
    std::set<std::pair<std::string, int64_t>> items, users;
    for (const SmallItem& i : world.items) EXPECT_TRUE(items.insert({i.item_id, i.ts_ms}).second);
    for (const SmallUser& u : world.users) EXPECT_TRUE(users.insert({u.user_id, u.ts_ms}).second);
  }
}

// A generator that no longer makes the awkward cases would make every differential test weaker in silence.
TEST(SmallWorld, MakesEveryAwkwardCase) {
  std::map<std::string, int> seen;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const SmallWorld world = draw_small_world(seed);
    std::map<std::string, int> request_ids, events_by_id;
    std::set<std::pair<std::string, int64_t>> moments;
    std::map<std::string, std::set<std::string>> domains_of_id;
    for (const SmallRequest& r : world.requests) {
      seen["null user"] += !r.user_id;
      seen["empty list"] += r.candidates.empty();
      bool any_shown = false, any_nul = false, any_null_score = false;
      std::set<int32_t> positions;
      for (const SmallCandidate& c : r.candidates) {
        any_shown |= c.position.has_value();
        any_null_score |= !c.score;
        any_nul |= c.item_id.find('\0') != std::string::npos;
        if (c.position && !positions.insert(*c.position).second) ++seen["tie in position"];
      }
      seen["nothing shown"] += !r.candidates.empty() && !any_shown;
      seen["NUL in an id"] += any_nul;
      seen["null score"] += any_null_score;
      seen["null query in search"] += r.domain == "search" && !r.query;
      seen["empty query"] += r.query && r.query->empty();
      seen["70 kB query"] += r.query && r.query->size() >= 70'000;
      seen["request id again"] += ++request_ids[r.domain + " " + r.request_id] > 1;
      domains_of_id[r.request_id].insert(r.domain);
      seen["requests of a user at one time"] += r.user_id && !moments.insert({*r.user_id, r.ts_ms}).second;
    }
    for (const auto& [id, domains] : domains_of_id) seen["request id in two domains"] += domains.size() > 1;
    for (const SmallEvent& e : world.events) {
      seen["event without request"] += !e.request_id;
      seen["unknown request"] += e.request_id == "no such request";
      seen["late event"] += e.known_ms > e.ts_ms;
      seen["event id again"] += ++events_by_id[e.event_id] > 1;
      seen["null user event"] += !e.user_id;
      seen["other action"] += e.action == "view";
    }
    seen["no request at all"] += world.requests.empty();
    seen["one user"] += world.users.size() <= 1;
  }
  for (const char* what : {"null user",
                           "empty list",
                           "nothing shown",
                           "NUL in an id",
                           "null score",
                           "null query in search",
                           "empty query",
                           "70 kB query",
                           "request id again",
                           "requests of a user at one time",
                           "request id in two domains",
                           "tie in position",
                           "event without request",
                           "unknown request",
                           "late event",
                           "event id again",
                           "null user event",
                           "other action",
                           "no request at all",
                           "one user"}) {
    EXPECT_GT(seen[what], 0) << what;
  }
}

TEST(SmallWorld, OptionsSwitchTheAwkwardOff) {
  SmallWorldOptions plain;
  plain.reuse_ids = false;
  plain.awkward_text = false;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const SmallWorld world = draw_small_world(seed, plain);
    std::set<std::string> ids;
    for (const SmallEvent& e : world.events) EXPECT_TRUE(ids.insert(e.event_id).second);
    for (const SmallRequest& r : world.requests) {
      EXPECT_TRUE(ids.insert(r.domain + "/" + r.request_id).second);
      for (const SmallCandidate& c : r.candidates) EXPECT_EQ(c.item_id[0], 'i');
    }
  }
}

TEST(SmallWorld, IsWrittenWholeAndInStoreOrder) {
  const TemporaryFolder folder;
  for (uint64_t seed : {1, 2, 3, 4}) {
    SCOPED_TRACE(seed);
    const std::string store = folder.path(std::to_string(seed));
    const SmallWorld world = draw_small_world(seed);
    write_small_world(world, store, 3);  // many small row groups
    const ReadLogs logs = [&] {
      ReadLogs out;
      const logstore::LogStore opened(store);
      EXPECT_EQ(opened.days(), world.days);
      for (base::Day day : opened.days()) {
        for (int bucket = 0; bucket < world.schema.num_buckets; ++bucket) {
          const auto events = opened.events_file(day, bucket);
          if (!events) continue;
          const size_t first = out.events.size();
          read_events(*events, bucket, out.events);
          for (size_t i = first + 1; i < out.events.size(); ++i) {
            EXPECT_LE(
                std::tie(out.events[i - 1].user_id, out.events[i - 1].ts_ms, out.events[i - 1].event_id),
                std::tie(out.events[i].user_id, out.events[i].ts_ms, out.events[i].event_id));
          }
        }
      }
      return out;
    }();
    ASSERT_EQ(logs.events.size(), world.events.size());
    std::multiset<std::string> expected, got;
    for (const SmallEvent& e : world.events)
      expected.insert(e.event_id + "|" + e.user_id.value_or("(null)") + "|" + e.item_id);
    for (const ReadEvent& e : logs.events)
      got.insert(e.event_id + "|" + e.user_id.value_or("(null)") + "|" + e.item_id);
    EXPECT_EQ(got, expected);
  }
}

TEST(SmallWorld, TheSameSeedIsTheSameWorld) {
  const TemporaryFolder folder;
  make_small_world(folder.path("a"), 7);
  make_small_world(folder.path("b"), 7);
  make_small_world(folder.path("c"), 8);
  EXPECT_EQ(read_manifests(folder.path("a")), read_manifests(folder.path("b")));
  EXPECT_NE(read_manifests(folder.path("a")), read_manifests(folder.path("c")));
}

}  // namespace
}  // namespace uniscale::synth
