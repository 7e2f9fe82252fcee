// Properties of a build: what may change nothing, what a day waits for, what a kill leaves, what is refused.
#include "es3/build.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "es3/detail/test_logs.h"
#include "es3/reference.h"
#include "es3/report_html.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

using testing::HasSubstr;

constexpr base::Day kDay{20'513};  // 2026-03-01

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return base::full_message(error);
  }
  return "no error";
}

BuildRequest request_for(const TemporaryFolder& folder, const std::string& store, const std::string& samples,
                         const std::vector<schema::SequenceOptions>& sequences = {}) {
  BuildRequest request;
  request.options.store = folder.path(store);
  request.options.samples = folder.path(samples);
  request.options.unexposed_if_empty = 2;
  request.sequences = sequences;
  return request;
}

void build_days(BuildRequest request, base::Day from, base::Day to) {
  request.options.from = base::format_day(from);
  request.options.to = base::format_day(to);
  build(request);
}

synth::SmallWorld drawn_world(uint64_t seed, int num_days) {
  synth::SmallWorldOptions options;
  options.num_days = num_days;
  return synth::draw_small_world(seed, options);
}

// The manifest's body without what a place or a clock could colour.
std::string body_of(const std::string& samples, base::Day day) {
  const auto publication = table::read_publication(samples, fmt::format("dt={}", base::format_day(day)));
  return publication ? json::dump(publication->body) : "";
}

// One request and one click: u1 sees a and b at 10:00 and clicks a.
PlainLogs one_click() {
  PlainLogs logs;
  logs.requests.push_back({"r1",
                           "search",
                           "u1",
                           kDay.begin_ms() + 10 * base::kHourMs,
                           "coat",
                           {},
                           {{"a", 1, {}, {}}, {"b", 2, {}, {}}}});
  logs.events.push_back({"e1", "search", "click", "u1", "a", kDay.begin_ms() + 10 * base::kHourMs + 7000,
                         kDay.begin_ms() + 10 * base::kHourMs + 7000, "r1"});
  return logs;
}

schema::LogSchema plain_schema(int num_buckets = 2) {
  schema::LogSchema schema;
  schema.num_buckets = num_buckets;
  return schema;
}

TEST(Es3Build, OrderOfRowsRowGroupsAndThreadsChangeNoByte) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = drawn_world(seed, 3);
    const PlainLogs logs = plain_logs(world);
    write_store(logs, world.schema, world.days, folder.path("store"));
    write_store(logs, world.schema, world.days, folder.path("shuffled"),
                {.row_group_rows = 3, .shuffle_seed = seed});
    BuildRequest plain = request_for(folder, "store", "plain", world.sequences);
    plain.options.threads = 1;
    BuildRequest shuffled = request_for(folder, "shuffled", "from_shuffled", world.sequences);
    shuffled.options.threads = 2;
    build_days(plain, world.days.front(), world.days.back());
    build_days(shuffled, world.days.front(), world.days.back());
    ASSERT_EQ(sample_hashes(plain.options.samples), sample_hashes(shuffled.options.samples))
        << "seed " << seed;
  }
}

TEST(Es3Build, ThreadsChangeNoByteOfTheManifest) {
  const TemporaryFolder folder;
  const synth::SmallWorld world = drawn_world(5, 2);
  write_store(plain_logs(world), world.schema, world.days, folder.path("store"));
  for (const int64_t threads : {1, 2}) {
    BuildRequest request = request_for(folder, "store", fmt::format("with_{}", threads), world.sequences);
    request.options.threads = threads;
    build_days(request, world.days[0], world.days[0]);
  }
  EXPECT_EQ(body_of(folder.path("with_1"), world.days[0]), body_of(folder.path("with_2"), world.days[0]));
  EXPECT_EQ(base::read_file(folder.path("with_1/manifests/dt=2026-03-01.json")),
            base::read_file(folder.path("with_2/manifests/dt=2026-03-01.json")));
}

TEST(Es3Build, DaysOneByOneEqualTheSpan) {
  for (uint64_t seed = 21; seed <= 26; ++seed) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = drawn_world(seed, 4);
    write_store(plain_logs(world), world.schema, world.days, folder.path("store"));
    const BuildRequest span = request_for(folder, "store", "span", world.sequences);
    build_days(span, world.days.front(), world.days.back());
    // Backwards, so that no day leans on another's result.
    for (auto day = world.days.rbegin(); day != world.days.rend(); ++day) {
      BuildRequest single = request_for(folder, "store", "single", world.sequences);
      single.options.dt = base::format_day(*day);
      build(single);
    }
    ASSERT_EQ(sample_hashes(folder.path("span")), sample_hashes(folder.path("single"))) << "seed " << seed;
    for (const base::Day day : world.days) {
      ASSERT_EQ(body_of(folder.path("span"), day), body_of(folder.path("single"), day)) << "seed " << seed;
    }
  }
}

// Rows of later days and, if asked, rows of earlier times that became known after the day: no history may
// show them, though attribution credits them, as it does all late labels.
PlainLogs with_future_rows(PlainLogs logs, const synth::SmallWorld& world, base::Day built,
                           bool with_late_rows) {
  const PlainLogs past = logs;
  // Past every window of the built day.
  const int64_t shift_ms = 5 * base::kDayMs;
  for (PlainRequest request : past.requests) {
    request.ts_ms += shift_ms;
    request.request_id += "+";
    logs.requests.push_back(request);
  }
  for (PlainEvent event : past.events) {
    event.event_id += "+";
    event.ts_ms += shift_ms;
    event.known_ms += shift_ms;
    logs.events.push_back(event);
    if (!with_late_rows) continue;
    // The same rows in their own time, of a cross domain, known only after the built day.
    event.ts_ms -= shift_ms;
    event.domain = "feed";
    event.known_ms = built.end_ms();
    event.event_id += "late";
    logs.events.push_back(event);
  }
  for (PlainItem item : past.items) {
    // Within the windows a title decides which request an event is relevant to, and whether there are titles
    // at all opens the gate.
    item.ts_ms = built.end_ms() + (with_late_rows ? 0 : shift_ms);
    if (item.title) item.title = "a later title";
    const bool is_there = std::any_of(logs.items.begin(), logs.items.end(), [&](const PlainItem& other) {
      return other.item_id == item.item_id && other.ts_ms == item.ts_ms;
    });
    if (!is_there) logs.items.push_back(item);
  }
  EXPECT_EQ(world.days.size(), 3U);
  return logs;
}

TEST(Es3Build, FutureRowsChangeNoPastSample) {
  int64_t num_rows = 0;
  for (uint64_t seed = 31; seed <= 40; ++seed) {
    const TemporaryFolder folder;
    const synth::SmallWorld world = drawn_world(seed, 3);
    const base::Day built = world.days[1];
    const PlainLogs logs = plain_logs(world);
    write_store(logs, world.schema, world.days, folder.path("past"));
    std::vector<base::Day> more_days;
    for (int i = 0; i < 9; ++i) more_days.push_back(world.days[0].plus(i));
    const bool has_stages = seed % 2 == 0;
    write_store(with_future_rows(logs, world, built, !has_stages), world.schema, more_days,
                folder.path("future"));
    for (const auto& [store, samples] :
         {std::pair("past", "from_past"), std::pair("future", "from_future")}) {
      BuildRequest request = request_for(folder, store, samples, world.sequences);
      request.options.attribution = request.options.searchify = has_stages;
      build_days(std::move(request), built, built);
    }
    ASSERT_EQ(sample_hashes(folder.path("from_past")), sample_hashes(folder.path("from_future")))
        << "seed " << seed;
    num_rows += static_cast<int64_t>(
        read_samples(folder.path("from_past"), built, world.schema, world.sequences).size());
  }
  EXPECT_GE(num_rows, 50);
}

TEST(Es3Build, ADayIsProvisionalUntilItsWindowsHavePassed) {
  const TemporaryFolder folder;
  // 72 h of windows, 30 min of pages and 5 s of skew reach into the fourth day after it.
  write_store(one_click(), plain_schema(), {kDay, kDay.plus(1), kDay.plus(2), kDay.plus(3)},
              folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  const DayReport early = build(request).front();
  EXPECT_FALSE(early.is_final);
  EXPECT_EQ(format_days(early.missing_later), "2026-03-05");
  EXPECT_THAT(
      to_text(early),
      HasSubstr(
          "samples 2026-03-01, provisional\n  gates: none set\n  ! provisional: 2026-03-05 not ingested "
          "yet; labels may still be added, and credits may move\n"));
  write_store(PlainLogs{}, plain_schema(), {kDay.plus(4)}, folder.path("store"));
  const DayReport late = build(request).front();
  EXPECT_TRUE(late.is_final);
  EXPECT_THAT(body_of(request.options.samples, kDay), HasSubstr("\"state\": \"final\""));
  EXPECT_EQ(table::read_publication(request.options.samples, "dt=2026-03-01")->generation, 2);
}

TEST(Es3Build, MissingLookBackDaysAreListedNotRefused) {
  const TemporaryFolder folder;
  write_store(one_click(), plain_schema(), {kDay.plus(-10), kDay.plus(-3), kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  EXPECT_EQ(format_days(build(request).front().missing_earlier),
            "2026-02-20 … 2026-02-25, 2026-02-27 … 2026-02-28");
}

TEST(Es3Build, AMissingDayIsNotReady) {
  const TemporaryFolder folder;
  write_store(one_click(), plain_schema(), {kDay, kDay.plus(2)}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.from = "2026-03-01";
  request.options.to = "2026-03-05";
  EXPECT_THROW(build(request), base::NotReadyError);
  EXPECT_EQ(error_of([&] { build(request); }),
            request.options.store + ": not ingested yet: 2026-03-02, 2026-03-04 … 2026-03-05");
  EXPECT_FALSE(base::file_exists(request.options.samples + "/manifests/dt=2026-03-01.json"));
}

TEST(Es3Build, ARequestThatStandsTwiceIsRefused) {
  const TemporaryFolder folder;
  PlainLogs logs = one_click();
  logs.requests.push_back(logs.requests.front());
  write_store(logs, plain_schema(1), {kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  EXPECT_EQ(
      error_of([&] { build(request); }),
      request.options.store +
          ": requests, 2026-03-01, bucket 0: expected one row per request, got request_id \"r1\" twice at "
          "2026-03-01T10:00:00.000Z");
}

TEST(Es3Build, ARowOfAnotherDayIsRefused) {
  const TemporaryFolder folder;
  const schema::LogSchema schema = plain_schema(1);
  logstore::create_or_check_store(folder.path("store"), schema);
  logstore::RequestsBuilder builder(schema);
  builder.begin("r1", "search", "u1", kDay.end_ms(), "coat", {});
  logstore::DayWriter writer(folder.path("store"), schema, kDay);
  writer.write_bucket(0, {builder.finish()}, {});
  writer.publish(json::Value::object());
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  EXPECT_THAT(error_of([&] { build(request); }),
              HasSubstr("ts_ms: expected times of 2026-03-01, got 2026-03-02T00:00:00.000Z"));
}

TEST(Es3Build, TwoVersionsOfOneTimeAreRefused) {
  const TemporaryFolder folder;
  PlainLogs logs = one_click();
  logs.items = {{"a", 5, "x", {}, {}}, {"a", 5, "y", {}, {}}};
  write_store(logs, plain_schema(1), {kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  EXPECT_THAT(error_of([&] { build(request); }),
              HasSubstr("expected one version per item_id and ts_ms, got \"a\" twice at 5"));
}

TEST(Es3Build, LongListsEndRowGroupsEarlierAndChangeNoRow) {
  const TemporaryFolder folder;
  const synth::SmallWorld world = drawn_world(3, 2);
  write_store(plain_logs(world), world.schema, world.days, folder.path("store"));
  BuildRequest whole = request_for(folder, "store", "whole", world.sequences);
  BuildRequest single = request_for(folder, "store", "single", world.sequences);
  single.options.row_group_requests = 1;
  for (const BuildRequest& request : {whole, single}) build_days(request, world.days[0], world.days[1]);
  for (const base::Day day : world.days) {
    EXPECT_EQ(read_samples(whole.options.samples, day, world.schema, world.sequences),
              read_samples(single.options.samples, day, world.schema, world.sequences));
  }
}

TEST(Es3Build, TooMuchTextForOneColumnEndsTheRowGroupEarlier) {
  const TemporaryFolder folder;
  PlainLogs logs = one_click();
  for (int i = 0; i < 20; ++i) {
    PlainRequest request = logs.requests[0];
    request.request_id = fmt::format("s{:02}", i);
    request.query = std::string(static_cast<size_t>(100 + i), 'q');
    logs.requests.push_back(request);
  }
  write_store(logs, plain_schema(1), {kDay}, folder.path("store"));
  BuildRequest whole = request_for(folder, "store", "whole");
  whole.options.dt = "2026-03-01";
  BuildRequest narrow = whole;
  narrow.options.samples = folder.path("narrow");
  narrow.max_column_bytes = 500;
  narrow.measure_flat = true;
  build(whole);
  build(narrow);
  const auto samples = read_samples(whole.options.samples, kDay, plain_schema(1), {});
  EXPECT_EQ(samples.size(), 21U);
  EXPECT_EQ(samples, read_samples(narrow.options.samples, kDay, plain_schema(1), {}));
  EXPECT_NE(sample_hashes(whole.options.samples), sample_hashes(narrow.options.samples));
  narrow.max_column_bytes = 110;
  EXPECT_EQ(error_of([&] { build(narrow); }),
            "requests, 2026-03-01, bucket 0: one request holds more than 110 bytes of text in one column");
}

// Of the version valid at the request; null where there is none; no column unless it is asked for.
TEST(Es3Build, SamplesCarryItemEmbeddingsWhereAsked) {
  const TemporaryFolder folder;
  PlainLogs logs = one_click();
  const int64_t ts_ms = logs.requests[0].ts_ms;
  logs.requests[0].candidates = {{"a", 1, {}, {}}, {"b", 2, {}, {}}, {"c", 3, {}, {}}};
  logs.items = {{"a", logstore::kEver, "x", {}, {}, {1, 2.5F}},
                {"a", ts_ms + 1, "x", {}, {}, {9, 9}},
                {"b", logstore::kEver, "y", {}, {}, {}}};
  write_store(logs, plain_schema(1), {kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "plain");
  request.options.dt = "2026-03-01";
  build(request);
  BuildRequest with = request;
  with.options.samples = folder.path("with");
  with.options.item_embeddings = true;
  with.measure_flat = true;
  build(with);
  EXPECT_EQ(read_samples(request.options.samples, kDay, plain_schema(1), {}),
            read_samples(with.options.samples, kDay, plain_schema(1), {}));
  const auto item_of = [&](const std::string& samples) {
    const auto publication = table::read_publication(samples, "dt=2026-03-01");
    const table::ParquetReader reader(samples + "/" + publication.value().files.at(0).path);
    return reader.read_row_group(0).require("items", table::Type::List, samples).child(0);
  };
  EXPECT_EQ(item_of(request.options.samples).find_child("item")->find_child("embedding"), nullptr);
  const table::Column items = item_of(with.options.samples);
  const table::Column* embedding = items.find_child("item")->find_child("embedding");
  ASSERT_NE(embedding, nullptr);
  ASSERT_EQ(embedding->length(), 3);
  ASSERT_TRUE(embedding->is_valid(0));
  EXPECT_EQ(embedding->list_end(0) - embedding->list_begin(0), 2);
  EXPECT_EQ(embedding->child(0).floats()[static_cast<size_t>(embedding->list_begin(0))], 1.0F);
  EXPECT_EQ(embedding->child(0).floats()[static_cast<size_t>(embedding->list_begin(0)) + 1], 2.5F);
  EXPECT_FALSE(embedding->is_valid(1));
  EXPECT_FALSE(embedding->is_valid(2));
  const auto fingerprint = [](const std::string& samples) {
    return table::read_publication(samples, "dt=2026-03-01")->body["sample_fingerprint"];
  };
  EXPECT_NE(fingerprint(request.options.samples), fingerprint(with.options.samples));
}

TEST(Es3Build, AListOfTenThousandAndALongQuery) {
  const TemporaryFolder folder;
  PlainLogs logs = one_click();
  logs.requests[0].query = std::string(70'000, 'q') + std::string("\0\xd7\xa9", 3);
  for (int i = 0; i < 10'000; ++i) {
    logs.requests[0].candidates.push_back({fmt::format("i{}", i),
                                           i % 100 == 0 ? std::optional(100 + i) : std::nullopt,
                                           static_cast<float>(i % 7),
                                           {}});
  }
  logs.requests.push_back({"r2", "search", "u1", kDay.begin_ms() + 11 * base::kHourMs, "", {}, {}});
  write_store(logs, plain_schema(1), {kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  request.options.hard_share = 0.25;
  build(request);
  const auto samples = read_samples(request.options.samples, kDay, plain_schema(1), {});
  ASSERT_EQ(samples.size(), 2U);
  // 102 shown, 100 of 9900 drawn.
  EXPECT_EQ(samples[0].items.size(), 202U);
  EXPECT_EQ(samples[1].queries.at(0).query, *logs.requests[0].query);
  EXPECT_EQ(samples[1].query, "");
  EXPECT_EQ(samples, reference_samples(logs, plain_schema(1), request.options, {}, kDay));
}

TEST(Es3Build, AKillLeavesTheOldDayOrTheNewOne) {
  const TemporaryFolder folder;
  const synth::SmallWorld world = drawn_world(8, 3);
  write_store(plain_logs(world), world.schema, world.days, folder.path("store"));
  const base::Day day = world.days[1];
  BuildRequest old_rules = request_for(folder, "store", "samples", world.sequences);
  old_rules.options.dt = base::format_day(day);
  old_rules.options.threads = 1;
  build(old_rules);
  const auto old_samples = read_samples(old_rules.options.samples, day, world.schema, world.sequences);
  BuildRequest new_rules = old_rules;
  new_rules.options.unexposed_ratio = 0;
  new_rules.options.unexposed_if_empty = 0;
  new_rules.options.samples = folder.path("expected");
  build(new_rules);
  const auto new_samples = read_samples(new_rules.options.samples, day, world.schema, world.sequences);
  ASSERT_NE(old_samples, new_samples);
  new_rules.options.samples = old_rules.options.samples;

  int num_killed = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      build(attempt % 2 == 0 ? new_rules : old_rules);
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(attempt * 1500));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    num_killed += WIFSIGNALED(status) ? 1 : 0;
    const auto found = read_samples(old_rules.options.samples, day, world.schema, world.sequences);
    ASSERT_TRUE(found == old_samples || found == new_samples) << "attempt " << attempt;
  }
  EXPECT_GE(num_killed, 1);
  build(new_rules);
  EXPECT_EQ(read_samples(old_rules.options.samples, day, world.schema, world.sequences), new_samples);
}

TEST(Es3Build, TheReportIsPublishedBesideTheSamples) {
  const TemporaryFolder folder;
  write_store(one_click(), plain_schema(), {kDay}, folder.path("store"));
  BuildRequest request = request_for(folder, "store", "samples");
  request.options.dt = "2026-03-01";
  request.resolved_config = "[es3]\n";
  request.measure_flat = true;
  const DayReport report = build(request).front();
  EXPECT_EQ(base::read_file(request.options.samples + "/reports/dt=2026-03-01.txt"), to_text(report));
  EXPECT_EQ(base::read_file(request.options.samples + "/reports/dt=2026-03-01.html"), to_html(report));
  const json::Value written = json::parse_file(request.options.samples + "/reports/dt=2026-03-01.json");
  EXPECT_EQ(written["ladder"][0]["click_positives"], 1);
  EXPECT_EQ(written["events"]["native"]["click"], 1);
  EXPECT_GT(written["storage"]["flat_sorted_bytes"], 0);
  EXPECT_GT(written["storage"]["flat_shuffled_bytes"], 0);
  EXPECT_GT(report.storage.list_bytes, 0);
  EXPECT_TRUE(base::list_files(request.options.samples, ".tmp").empty());
  const auto publication = table::read_publication(request.options.samples, "dt=2026-03-01");
  EXPECT_EQ(publication->body["config"], "[es3]\n");
  EXPECT_EQ(publication->body["num_requests"], 1);
  EXPECT_EQ(publication->body["num_samples"], 2);
  EXPECT_TRUE(publication->body["inputs"].contains("dt=2026-03-01"));
  EXPECT_TRUE(publication->body["inputs"].contains("items"));
}

TEST(Es3Build, TheFingerprintFollowsRulesAndInputsNotPlaces) {
  const TemporaryFolder folder;
  write_store(one_click(), plain_schema(), {kDay}, folder.path("store"));
  const auto fingerprint = [&](const std::string& samples, double ratio, int64_t threads) {
    BuildRequest request = request_for(folder, "store", samples);
    request.options.dt = "2026-03-01";
    request.options.unexposed_ratio = ratio;
    request.options.threads = threads;
    build(request);
    return table::read_publication(request.options.samples, "dt=2026-03-01")
        ->body["fingerprint"]
        .get<std::string>();
  };
  const std::string first = fingerprint("one", 2, 1);
  EXPECT_EQ(first, fingerprint("two", 2, 2));
  EXPECT_NE(first, fingerprint("three", 1, 1));
  write_store(PlainLogs{}, plain_schema(), {kDay.plus(1)}, folder.path("store"));
  EXPECT_NE(first, fingerprint("four", 2, 1));
}

}  // namespace
}  // namespace uniscale::es3
