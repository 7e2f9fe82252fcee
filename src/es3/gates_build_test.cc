// What a failed gate does to a day: it is kept aside, the day as it stood stays, the other days are built.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "es3/build.h"
#include "es3/detail/test_logs.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr base::Day kDay{20'513};  // 2026-03-01

std::string gate_error_of(const BuildRequest& request) {
  try {
    build(request);
  } catch (const base::GateError& error) {
    return error.what();
  }
  return "no gate error";
}

// `num_requests` requests on the day, each of two shown items, the first clicked; `num_orphans` more clicks
// name requests that are nowhere.
void add_day(PlainLogs& logs, base::Day day, int num_requests, int num_orphans) {
  for (int i = 0; i < num_requests + num_orphans; ++i) {
    const std::string name = fmt::format("{}-{}", day.number, i);
    const int64_t ts_ms = day.begin_ms() + base::kHourMs + i * 1000;
    if (i < num_requests) {
      PlainRequest request;
      request.request_id = "r" + name;
      request.domain = "search";
      request.user_id = "u" + name;
      request.ts_ms = ts_ms;
      request.query = "coat";
      request.candidates = {{"a", 1, {}, {}}, {"b", 2, {}, {}}};
      logs.requests.push_back(request);
    }
    logs.events.push_back({"e" + name, "search", "click", "u" + name, "a", ts_ms + 500, ts_ms + 500,
                           (i < num_requests ? "r" : "x") + name});
  }
}

class Es3GatesOfABuild : public testing::Test {
 protected:
  void write(const PlainLogs& logs, const std::vector<base::Day>& days) {
    schema::LogSchema schema;
    schema.num_buckets = 2;
    write_store(logs, schema, days, folder_.path("store"));
  }
  BuildRequest request_for(base::Day from, base::Day to) const {
    BuildRequest request;
    request.options.store = folder_.path("store");
    request.options.samples = folder_.path("samples");
    request.options.from = base::format_day(from);
    request.options.to = base::format_day(to);
    request.options.threads = 1;
    request.gates.max_orphan_share = 0.25;
    request.gates.min_cases = 1;
    return request;
  }
  bool stands(const std::string& path) const { return base::file_exists(folder_.path("samples/" + path)); }
  std::optional<table::Publication> published(base::Day day) const {
    return table::read_publication(folder_.path("samples"), "dt=" + base::format_day(day));
  }
  TemporaryFolder folder_;
};

TEST_F(Es3GatesOfABuild, AFailedDayIsKeptAsideAndTheOthersAreBuilt) {
  PlainLogs logs;
  add_day(logs, kDay, 4, 0);
  add_day(logs, kDay.plus(1), 2, 2);
  add_day(logs, kDay.plus(2), 4, 1);
  write(logs, {kDay, kDay.plus(1), kDay.plus(2)});
  const std::string error = gate_error_of(request_for(kDay, kDay.plus(2)));
  EXPECT_EQ(
      error,
      fmt::format("{0}: these days are not published\n  2026-03-02: orphan_share: expected at most 0.25, got "
                  "0.5000 (2 of 4 events of the search domain)\nreports: {0}/reports/failed; "
                  "--allow-failed-gates publishes them",
                  folder_.path("samples")));
  EXPECT_TRUE(published(kDay).has_value());
  EXPECT_FALSE(published(kDay.plus(1)).has_value());
  EXPECT_TRUE(published(kDay.plus(2)).has_value());
  EXPECT_EQ(published(kDay)->body["gates"], "passed");
  for (const char* ending : {"json", "txt", "html"}) {
    EXPECT_TRUE(stands(fmt::format("reports/failed/dt=2026-03-02.{}", ending))) << ending;
    EXPECT_FALSE(stands(fmt::format("reports/dt=2026-03-02.{}", ending))) << ending;
  }
  EXPECT_TRUE(base::list_files(folder_.path("samples/samples/dt=2026-03-02")).empty());
  EXPECT_THAT(base::read_file(folder_.path("samples/reports/failed/dt=2026-03-02.txt")),
              HasSubstr("FAILED, not published: orphan_share\n"));
}

TEST_F(Es3GatesOfABuild, TheDayAsItStoodStays) {
  PlainLogs logs;
  add_day(logs, kDay, 2, 2);
  write(logs, {kDay});
  BuildRequest request = request_for(kDay, kDay);
  request.gates = {};
  build(request);
  const std::string manifest = base::read_file(folder_.path("samples/manifests/dt=2026-03-01.json"));
  const auto files = base::list_files(folder_.path("samples/samples"));
  EXPECT_THAT(gate_error_of(request_for(kDay, kDay)), HasSubstr("orphan_share"));
  EXPECT_EQ(base::read_file(folder_.path("samples/manifests/dt=2026-03-01.json")), manifest);
  EXPECT_EQ(base::list_files(folder_.path("samples/samples")), files);
}

TEST_F(Es3GatesOfABuild, AllowedDaysArePublishedAndMarked) {
  PlainLogs logs;
  add_day(logs, kDay, 2, 2);
  write(logs, {kDay});
  EXPECT_THAT(gate_error_of(request_for(kDay, kDay)), HasSubstr("2026-03-01: orphan_share"));
  BuildRequest request = request_for(kDay, kDay);
  request.allow_failed_gates = true;
  EXPECT_EQ(gate_error_of(request), "no gate error");
  EXPECT_EQ(published(kDay)->body["gates"], "failed");
  EXPECT_THAT(to_text(build(request).front()), HasSubstr("FAILED, published all the same: orphan_share\n"));
  EXPECT_TRUE(stands("reports/dt=2026-03-01.html"));
  EXPECT_FALSE(stands("reports/failed/dt=2026-03-01.html"));
}

TEST_F(Es3GatesOfABuild, VolumeIsOfPublishedDaysOnly) {
  PlainLogs logs;
  std::vector<base::Day> days;
  for (int i = 0; i < 5; ++i) {
    days.push_back(kDay.plus(i));
    add_day(logs, days.back(), i == 3 ? 1 : 4, 0);  // 2026-03-04 has a quarter of the usual
  }
  write(logs, days);
  BuildRequest request = request_for(kDay, kDay.plus(4));
  request.gates.min_volume = 0.5;
  const std::string error = gate_error_of(request);
  EXPECT_THAT(error,
              HasSubstr("\n  2026-03-04: requests: expected at least 0.5, got 0.2500 (1 where the median of "
                        "3 days is 4)\n"));
  EXPECT_THAT(error, Not(HasSubstr("2026-03-05")));
  EXPECT_THAT(base::read_file(folder_.path("samples/reports/dt=2026-03-05.txt")),
              HasSubstr("gates: 4 passed\n"));
  EXPECT_THAT(
      base::read_file(folder_.path("samples/reports/dt=2026-03-02.txt")),
      HasSubstr("? requests: expected at least 0.5, not judged: 1 of the 7 days before are published, 3 are "
                "needed\n"));
}

}  // namespace
}  // namespace uniscale::es3
