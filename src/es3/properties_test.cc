// What must hold of attribution and searchified requests in any world: nothing later than a request shows in
// its row, no layout of the store matters, no event counts twice.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "es3/detail/test_logs.h"
#include "es3/reference.h"

namespace uniscale::es3 {
namespace {

synth::SmallWorld cross_world(uint64_t seed, int num_days = 4) {
  synth::SmallWorldOptions options;
  options.num_days = num_days;
  options.cross_heavy = true;
  options.max_users = 8;
  options.max_items = 8;
  options.max_requests = 200;
  options.max_events = 300;
  return synth::draw_small_world(seed, options);
}

// Short windows, so that clicks of other domains are left over for their own requests.
Options cross_options() {
  Options options;
  options.click_window = base::Duration{base::kHourMs};
  options.co_min_users = 1;
  options.ann_min_count = 1;
  options.ann_floor = 0.2;
  options.negative_similarity = 0.1;
  options.half_life = base::Duration{5 * base::kHourMs};
  return options;
}

BuildRequest request_for(const TemporaryFolder& folder, const std::string& store, const std::string& samples,
                         const synth::SmallWorld& world) {
  BuildRequest request;
  request.options = cross_options();
  request.options.store = folder.path(store);
  request.options.samples = folder.path(samples);
  request.options.from = base::format_day(world.days.front());
  request.options.to = base::format_day(world.days.back());
  request.sequences = world.sequences;
  return request;
}

// Seeds of worlds in which `least` clicks or more become positives: a build costs more than a look.
std::vector<uint64_t> rich_seeds(size_t num_seeds, size_t least, int num_days) {
  std::vector<uint64_t> seeds;
  const Options options = cross_options();
  for (uint64_t seed = 1; seeds.size() < num_seeds; ++seed) {
    const synth::SmallWorld world = cross_world(seed, num_days);
    const PlainLogs logs = plain_logs(world);
    if (Twin(logs, world.schema, options).cross_clicks().size() >= least) seeds.push_back(seed);
  }
  return seeds;
}

bool is_cross(const PlainSample& sample) { return sample.query_tier != 0; }

TEST(Es3Properties, ASearchifiedRowShowsNothingLaterThanItsRequest) {
  int64_t num_rows = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const synth::SmallWorld world = cross_world(seed);
    const PlainLogs logs = plain_logs(world);
    const Options options = cross_options();
    const Twin twin(logs, world.schema, options);
    for (const PlainSample& row : twin.samples(world.sequences, world.days.back())) {
      if (!is_cross(row)) continue;
      // Without every row of search from the request on. (The click may then be left over where it was used
      // up before, never the other way round.)
      PlainLogs before = logs;
      std::erase_if(before.requests, [&](const PlainRequest& request) {
        return request.domain == world.schema.search_domain && request.ts_ms >= row.ts_ms;
      });
      std::erase_if(before.events, [&](const PlainEvent& event) {
        return event.domain == world.schema.search_domain && event.ts_ms >= row.ts_ms;
      });
      const auto rows = Twin(before, world.schema, options).samples(world.sequences, world.days.back());
      const auto same = std::find_if(rows.begin(), rows.end(), [&](const PlainSample& other) {
        return other.request_id == row.request_id && other.ts_ms == row.ts_ms;
      });
      ASSERT_NE(same, rows.end()) << "seed " << seed << "\n" << to_text(row);
      EXPECT_EQ(same->query, row.query);
      EXPECT_LE(same->query_tier, row.query_tier);
      EXPECT_EQ(same->histories, row.histories);
      EXPECT_EQ(same->queries, row.queries);
      EXPECT_EQ(same->user, row.user);
      for (const PlainSampleItem& item : row.items) {
        const auto other =
            std::find_if(same->items.begin(), same->items.end(),
                         [&](const PlainSampleItem& one) { return one.item_id == item.item_id; });
        ASSERT_NE(other, same->items.end()) << "seed " << seed << "\n" << to_text(row) << to_text(*same);
        EXPECT_EQ(other->origin, item.origin);
        EXPECT_EQ(other->title, item.title);
      }
      ++num_rows;
    }
  }
  EXPECT_GE(num_rows, 40);
}

TEST(Es3Properties, OrderOfRowsRowGroupsThreadsAndDaysChangeNoByte) {
  int64_t num_cross = 0;
  for (const uint64_t seed : rich_seeds(6, 12, 4)) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = cross_world(seed);
    const PlainLogs logs = plain_logs(world);
    write_store(logs, world.schema, world.days, folder.path("store"));
    write_store(logs, world.schema, world.days, folder.path("shuffled"),
                {.row_group_rows = 3, .shuffle_seed = seed});
    BuildRequest span = request_for(folder, "store", "span", world);
    span.options.threads = 1;
    build(span);
    BuildRequest shuffled = request_for(folder, "shuffled", "from_shuffled", world);
    shuffled.options.threads = 2;
    build(shuffled);
    ASSERT_EQ(sample_hashes(folder.path("span")), sample_hashes(folder.path("from_shuffled")))
        << "seed " << seed;
    // Day by day, backwards: no day leans on another's result.
    for (auto day = world.days.rbegin(); day != world.days.rend(); ++day) {
      BuildRequest single = request_for(folder, "store", "single", world);
      single.options.from = single.options.to = base::format_day(*day);
      build(single);
    }
    ASSERT_EQ(sample_hashes(folder.path("span")), sample_hashes(folder.path("single"))) << "seed " << seed;
    for (const base::Day day : world.days) {
      const auto rows = read_samples(folder.path("span"), day, world.schema, world.sequences);
      num_cross += std::count_if(rows.begin(), rows.end(), is_cross);
    }
  }
  EXPECT_GE(num_cross, 40);
}

// The order of rows in memory is no rule of the twin either.
TEST(Es3Properties, TheTwinDoesNotSeeTheOrderOfRows) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const synth::SmallWorld world = cross_world(seed);
    const PlainLogs logs = plain_logs(world);
    PlainLogs reversed = logs;
    std::reverse(reversed.requests.begin(), reversed.requests.end());
    std::reverse(reversed.events.begin(), reversed.events.end());
    std::reverse(reversed.items.begin(), reversed.items.end());
    std::reverse(reversed.users.begin(), reversed.users.end());
    const Options options = cross_options();
    for (const base::Day day : {world.days[1], world.days[3]}) {
      ASSERT_EQ(reference_samples(logs, world.schema, options, world.sequences, day),
                reference_samples(reversed, world.schema, options, world.sequences, day))
          << "seed " << seed;
    }
  }
}

TEST(Es3Properties, LaterDaysChangeNoRow) {
  int64_t num_cross = 0;
  for (const uint64_t seed : rich_seeds(8, 8, 7)) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = cross_world(seed, 7);
    const PlainLogs logs = plain_logs(world);
    // 72 h of windows reach from day 2 to the end of day 5; the second hour of day 6 is beyond.
    const base::Day built = world.days[2];
    const int64_t end_ms = world.days[6].begin_ms() + base::kHourMs;
    PlainLogs past = logs;
    std::erase_if(past.requests, [&](const PlainRequest& row) { return row.ts_ms >= end_ms; });
    std::erase_if(past.events, [&](const PlainEvent& row) { return row.ts_ms >= end_ms; });
    // Within the windows a title decides which request an event is relevant to.
    std::erase_if(past.items, [&](const PlainItem& row) { return row.ts_ms >= end_ms; });
    std::erase_if(past.users, [&](const PlainUser& row) { return row.ts_ms >= built.end_ms(); });
    write_store(logs, world.schema, world.days, folder.path("whole"));
    write_store(past, world.schema, world.days, folder.path("past"));
    for (const char* store : {"whole", "past"}) {
      BuildRequest request = request_for(folder, store, fmt::format("from_{}", store), world);
      request.options.from = request.options.to = base::format_day(built);
      build(request);
    }
    ASSERT_EQ(sample_hashes(folder.path("from_whole")), sample_hashes(folder.path("from_past")))
        << "seed " << seed;
    const auto rows = read_samples(folder.path("from_past"), built, world.schema, world.sequences);
    num_cross += std::count_if(rows.begin(), rows.end(), is_cross);
  }
  EXPECT_GE(num_cross, 5);
}

// Without titles the gate is open. A first title, valid from later on, leaves the samples of the days before
// as they are; valid before, it closes the gate.
TEST(Es3Properties, AFirstTitleAddedLaterChangesNoRow) {
  int64_t num_credited = 0, num_closed = 0;
  for (const uint64_t seed : {3, 4, 5, 6}) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = cross_world(seed);
    PlainLogs logs = plain_logs(world);
    for (PlainItem& item : logs.items) item.title.reset();
    const base::Day built = world.days[0];
    PlainItem first;
    first.item_id = "new";
    first.title = "unlike anything asked for";
    first.features.resize(world.schema.item.size());
    // The last event that may label a request of the day, and the first one.
    const int64_t reach_ms = Options{}.cart_window.ms;
    for (const auto& [name, ts_ms] :
         {std::pair("untitled", int64_t{-1}), std::pair("later", built.end_ms() + reach_ms),
          std::pair("before", built.begin_ms())}) {
      PlainLogs these = logs;
      first.ts_ms = ts_ms;
      if (ts_ms >= 0) these.items.push_back(first);
      write_store(these, world.schema, world.days, folder.path(name));
      BuildRequest request = request_for(folder, name, fmt::format("from_{}", name), world);
      request.options.relevance_gate = "text";
      request.options.searchify = false;
      request.options.from = request.options.to = base::format_day(built);
      build(request);
    }
    ASSERT_EQ(sample_hashes(folder.path("from_untitled")), sample_hashes(folder.path("from_later")))
        << "seed " << seed;
    const auto count = [&](const char* samples) {
      int64_t credited = 0;
      for (const PlainSample& row :
           read_samples(folder.path(samples), built, world.schema, world.sequences)) {
        for (const PlainSampleItem& item : row.items) {
          for (const PlainLabel& label : item.labels)
            credited += label.value && label.source != static_cast<int8_t>(schema::LabelSource::Native);
        }
      }
      return credited;
    };
    num_credited += count("from_later");
    num_closed += count("from_before");
  }
  EXPECT_GE(num_credited, 20);
  EXPECT_EQ(num_closed, 0);
}

TEST(Es3Properties, EveryEventGoesToOnePlaceAndLabelsOneSample) {
  int64_t num_labels = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const synth::SmallWorld world = cross_world(seed);
    const PlainLogs logs = plain_logs(world);
    Options options = cross_options();
    options.reuse_attributed = seed % 3 == 0;
    const Twin twin(logs, world.schema, options);
    int64_t num_events = 0;
    for (const base::Day day : world.days) {
      const EventCounts counts = reference_counts(twin.fates(), world.schema, day);
      EXPECT_EQ(counts.total(), counts.num_events);
      num_events += counts.num_events;
    }
    ASSERT_EQ(num_events, static_cast<int64_t>(logs.events.size()));
    std::set<const PlainEvent*> natives;
    for (const NativeEvent& native : twin.natives()) EXPECT_TRUE(natives.insert(native.event).second);
    std::set<const PlainEvent*> credited;
    for (const PlainCredit& credit : twin.credits()) {
      EXPECT_TRUE(credited.insert(credit.event).second);
      EXPECT_FALSE(natives.contains(credit.event));
      EXPECT_LE(credit.request->ts_ms, credit.event->ts_ms) << "a credit before its cause";
    }
    std::set<const PlainEvent*> joined;
    for (const PlainCross& click : twin.cross_clicks()) {
      EXPECT_TRUE(options.reuse_attributed || !credited.contains(click.event));
      for (const PlainEvent* label : click.labels) {
        EXPECT_TRUE(joined.insert(label).second);
        EXPECT_FALSE(credited.contains(label));
      }
    }
    num_labels += static_cast<int64_t>(credited.size() + joined.size());
  }
  EXPECT_GE(num_labels, 500);
}

}  // namespace
}  // namespace uniscale::es3
