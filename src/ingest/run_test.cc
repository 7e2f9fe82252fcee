#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "ingest/ingest_run_test.h"
#include "logstore/logstore.h"
#include "table/parquet.h"

namespace uniscale::ingest {
namespace {

TEST_F(IngestRun, MergesPagesDropsCopiesAndKeepsDigitsOfLargeIds) {
  put("r.ndjson",
      R"({"request_id":123456789012345678901234567890,"domain":"search","user_id":9007199254740993,"ts_ms":1772355600000,"query":"q","candidates":[{"item_id":"a","position":1},null,{"item_id":"b"},{"item_id":"b","position":2}]})"
      "\n"
      R"({"request_id":123456789012345678901234567890,"domain":"search","user_id":9007199254740993,"ts_ms":1772355660000,"candidates":[{"item_id":"c","position":3}]})"
      "\n{\"request_id\":");
  put("e.csv",
      "event_id,domain,action,user_id,item_id,ts_ms\n"
      "e1,search,click,u,a,2026-03-01T09:00:05Z\ne1,search,click,u,a,2026-03-01T09:00:04Z\ne2,search,"
      "click\n");
  sources_ = {{.name = "r", .table = "requests", .format = "ndjson", .path = folder_ + "/r.ndjson"},
              {.name = "e", .table = "events", .format = "csv", .path = folder_ + "/e.csv"}};
  const Report report = run();
  EXPECT_EQ(report.num_requests, 1);
  EXPECT_EQ(report.num_candidates, 3);
  EXPECT_EQ(report.num_events, 1);
  EXPECT_EQ(report.days, std::vector<std::string>{"2026-03-01"});
  EXPECT_EQ(report.cleaned, (std::map<std::string, int64_t>{
                                {"duplicate_event", 1}, {"duplicate_item_in_list", 1}, {"page_merged", 1}}));
  EXPECT_EQ(report.repaired.at("null_candidate_dropped"), 1);
  EXPECT_EQ(report.rejected, (std::map<std::string, int64_t>{{"columns", 1}, {"truncated", 1}}));
  EXPECT_NE(base::read_file(options_.store + "/quarantine/e.ndjson").find("expected 6 fields, got 3"),
            std::string::npos);
  const logstore::LogStore store(options_.store);
  for (int bucket = 0; bucket < 16; ++bucket) {
    const auto path = store.requests_file(*base::parse_day("2026-03-01"), bucket);
    if (!path) continue;
    const table::Table rows = table::ParquetReader(*path).read_row_group(0);
    EXPECT_EQ(rows.find("request_id")->string(0), "123456789012345678901234567890");
    EXPECT_EQ(rows.find("user_id")->string(0), "9007199254740993");
  }
}

TEST_F(IngestRun, NamesATruncatedParquetAndPublishesNothing) {
  sources_ = {
      {.name = "r", .table = "requests", .format = "parquet", .path = put("r.parquet", "PAR1 and no more")}};
  try {
    run();
    FAIL() << "a truncated file passed";
  } catch (const base::UserError& error) {
    EXPECT_NE(std::string(error.what()).find("r.parquet"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(logstore::LogStore(options_.store).days().empty());
}

TEST_F(IngestRun, ReadsTheUbiSample) {
  const std::string path = US_SOURCE_DIR "/../shared/data/ubi-esci-synthetic/ubi_queries_events.ndjson.zst";
  if (!base::file_exists(path)) GTEST_SKIP() << "the UBI sample is not here: " << path;
  sources_ = {{.name = "ubi", .table = "requests", .format = "ubi", .path = path}};
  const Report report = run();
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  // Distinct query_id values of the file, counted by a script of a few lines: zstd -dc | json.loads |
  // len(set(query_id)).
  EXPECT_EQ(report.num_requests, 284);
  EXPECT_GT(report.num_candidates, 1000);
  EXPECT_GT(report.num_events, 500);
}

TEST_F(IngestRun, TakesTheFormatFromTheNameUnlessToldOtherwise) {
  const std::string csv = "event_id,domain,action,item_id,ts_ms\ne1,search,click,a,1772355600000\n";
  put("raw/e.csv", csv);
  put("raw/more.jsonl",
      R"({"event_id":"e2","domain":"search","action":"click","item_id":"a","ts_ms":1772355600000})");
  sources_ = {{.name = "e", .table = "events", .path = folder_ + "/raw"}};
  EXPECT_EQ(run().num_events, 2);

  sources_[0].path = put("e.txt", csv);
  try {
    run();
    FAIL() << "a name that says nothing passed";
  } catch (const base::UserError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("source \"e\": " + folder_ + "/e.txt: expected a name that ends in .parquet"),
              std::string::npos)
        << error.what();
  }
  sources_[0].format = "csv";
  EXPECT_EQ(run().num_events, 1);
}

TEST_F(IngestRun, NeverShiftsSecondsIntoJanuary1970) {
  put("e.csv", "event_id,domain,action,item_id,ts_ms\ne1,search,click,a,1772355600\n");
  sources_ = {{.name = "e", .table = "events", .format = "csv", .path = folder_ + "/e.csv"}};
  EXPECT_EQ(run().rejected, (std::map<std::string, int64_t>{{"time", 1}}));
  EXPECT_NE(base::read_file(options_.store + "/quarantine/e.ndjson")
                .find("expected epoch milliseconds, got 1772355600; for other units set the source's time"),
            std::string::npos);
  sources_[0].time = "s";
  const Report report = run();
  EXPECT_EQ(report.num_events, 1);
  EXPECT_EQ(report.days, std::vector<std::string>{"2026-03-01"});
  EXPECT_FALSE(base::file_exists(options_.store + "/quarantine/e.ndjson"));
}

TEST_F(IngestRun, FlatCandidatesEqualNestedOnesForAnyOrderSplitAndThreads) {
  std::string nested = "request_id,domain,user_id,ts_ms,query,candidates\n", bare = nested, flat, late;
  bare.resize(bare.find(",candidates"));
  bare += "\n";
  flat = late = "request_id,domain,item_id,position,score\n";
  for (int i = 0; i < 40; ++i) {
    const std::string head = "r" + std::to_string(i) + ",search,u" + std::to_string(i % 7) + "," +
                             std::to_string(1772355600000 + i * 7'000'000) + ",\"a, \"\"b\"\"\nc\"";
    nested += head + R"(,"[{""item_id"":""a"",""position"":1,""score"":0.5},{""item_id"":""b""}]")" + "\n";
    bare += head + "\n";
    const std::string id = "r" + std::to_string(i) + ",search,";
    (i % 2 == 0 ? flat : late) += id + "b,,\n" + id + "a,1,0.5\n";
  }
  sources_ = {{.name = "r", .table = "requests", .format = "csv", .path = put("n.csv", nested)}};
  const Report report = run();
  EXPECT_EQ(report.num_requests, 40);
  EXPECT_EQ(report.num_candidates, 80);
  EXPECT_EQ(report.num_rejected(), 0);
  const auto expected = data_of(options_.store);
  EXPECT_GT(expected.size(), 4u);
  put("flat-1.csv", flat);
  put("flat-2.csv", late);
  std::filesystem::create_directory(folder_ + "/c");
  std::filesystem::rename(folder_ + "/flat-1.csv", folder_ + "/c/2.csv");
  std::filesystem::rename(folder_ + "/flat-2.csv", folder_ + "/c/1.csv");
  options_.store = folder_ + "/store2";
  sources_ = {{.name = "c", .table = "candidates", .format = "csv", .path = folder_ + "/c"},
              {.name = "r", .table = "requests", .format = "csv", .path = put("b.csv", bare)}};
  EXPECT_EQ(run(2).num_candidates, 80);
  EXPECT_EQ(data_of(options_.store), expected);
}

TEST_F(IngestRun, ImpressionsAloneSayWhatWasShownOfAUbiQuery) {
  put("u.ndjson",
      R"({"query_id":"q","client_id":"c","user_query":"x","timestamp":"2026-03-01T09:00:00","query_response_object_ids":["a","b"]})"
      "\n"
      R"({"action_name":"impression","query_id":"q","timestamp":1772355601000,"event_attributes":{"object":{"object_id":"b"},"position":{"ordinal":{"index":4}}}})"
      "\n"
      R"({"_source":{"action_name":"product_purchase","query_id":"q","client_id":"c","timestamp":"1772355602000","event_attributes":{"object":{"object_id":"b"}}}})"
      "\n"
      R"({"query_id":"q2","client_id":"c","user_query":"y","timestamp":1772355600000,"query_response_objects_ids":["a","b"]})"
      "\n"
      R"({"query_id":"q3","client_id":"c","user_query":"z","timestamp":1772355600000,"query_response_hit_ids":[]})"
      "\n"
      R"({"query_id":"q4","client_id":"c","user_query":"z","timestamp":1772355600000,"hits":["a","b"]})"
      "\n");
  sources_ = {{.name = "u", .table = "requests", .format = "ubi", .path = folder_ + "/u.ndjson"}};
  const Report report = run();
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_EQ(report.repaired, (std::map<std::string, int64_t>{{"time_without_zone_as_utc", 1},   // q
                                                             {"ubi_query_without_hits", 1}}));  // q4
  EXPECT_EQ(report.num_requests, 4);
  EXPECT_EQ(report.num_events, 1);
  const logstore::LogStore store(options_.store);
  int seen = 0;
  for (int bucket = 0; bucket < 16; ++bucket) {
    const auto path = store.requests_file(*base::parse_day("2026-03-01"), bucket);
    if (!path) continue;
    const table::Table rows = table::ParquetReader(*path).read_row_group(0);
    ASSERT_EQ(rows.num_rows(), 4);  // one client, one bucket
    const table::Column& items = rows.find("candidates")->child(0);
    const table::Column& position = *items.find_child("position");
    EXPECT_EQ(rows.find("request_id")->string(0), "q");
    EXPECT_FALSE(position.is_valid(0));  // a: returned, not seen
    EXPECT_EQ(position.int32s()[1], 4);
    EXPECT_EQ(position.int32s()[2], 1);  // q2: returned counts as shown, from 1
    EXPECT_EQ(position.int32s()[3], 2);
    ++seen;
  }
  EXPECT_EQ(seen, 1);
}

TEST_F(IngestRun, AKilledRunLeavesNothingAndTheNextEqualsACleanOne) {
  std::string text = "event_id,domain,action,user_id,item_id,ts_ms\n";
  for (int i = 0; i < 2000; ++i)
    text += "e" + std::to_string(i) + ",search,click,u" + std::to_string(i % 50) + ",a," +
            std::to_string(1772355600000 + i * 100'000) + "\n";
  sources_ = {{.name = "e", .table = "events", .format = "csv", .path = put("e.csv", text)}};
  run();
  const auto expected = data_of(options_.store);
  options_.store = folder_ + "/killed";
  const pid_t child = ::fork();
  if (child == 0) {
    // Dies after the first day was published.
    ingest::run(options_, sources_, schema_, "", 1, [](const std::string& line) {
      if (line.starts_with("published")) ::raise(SIGKILL);
    });
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(logstore::LogStore(options_.store).days().size(), 1u);
  run();
  auto got = data_of(options_.store);
  // The day that stood already has a second generation: names differ, bytes do not.
  std::vector<std::string> a, b;
  for (const auto& [path, bytes] : expected) a.push_back(bytes);
  for (const auto& [path, bytes] : got) b.push_back(bytes);
  EXPECT_EQ(a, b);
  for (const auto& entry : std::filesystem::directory_iterator(options_.store))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".spill-")) << entry.path();
}

TEST_F(IngestRun, HostileRowsEndInQuarantine) {
  std::string deep(300, '[');
  put("r.ndjson", "{\"request_id\":\"1\",\"x\":" + deep + "\n" +
                      R"({"request_id":"2","domain":"search","ts_ms":1e300})" + "\n" +
                      R"({"request_id":1.5,"domain":"search","ts_ms":1772355600000})" + "\n" +
                      R"({"request_id":"","domain":"search","ts_ms":1772355600000})" + "\n" +
                      R"({"request_id":"3","domain":"search","ts_ms":1772355600000,)" +
                      R"("candidates":[{"item_id":"a","position":-1}]})" + "\n" +
                      "{\"request_id\":\"\xFF\",\"domain\":\"search\",\"ts_ms\":1772355600000}\n" +
                      R"({"request_id":"4\u0000","domain":"search","ts_ms":1772355600000,"query":")" +
                      std::string(70'000, 'q') + "\"}\n");
  sources_ = {{.name = "r", .table = "requests", .format = "ndjson", .path = folder_ + "/r.ndjson"}};
  const Report report = run();
  EXPECT_EQ(report.num_rows(), 7);
  EXPECT_EQ(report.num_rejected(), 6) << report.to_text();
  EXPECT_EQ(report.num_requests, 1);
}

TEST_F(IngestRun, TooManyRejectsPublishNothing) {
  put("e.csv", "event_id,domain,action,item_id,ts_ms\ne1,search,click,a,1772355600000\ne2,search\n");
  sources_ = {{.name = "e", .table = "events", .format = "csv", .path = folder_ + "/e.csv"}};
  options_.max_reject_share = 0.25;
  try {
    run();
    FAIL() << "half of the rows rejected, and no gate";
  } catch (const base::GateError& error) {
    EXPECT_NE(std::string(error.what()).find("expected at most 0.25, got 0.5000 (1 of 2 rows)"),
              std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(logstore::LogStore(options_.store).days().empty());
}

// An item without an embedding once saw the cells of the row before it.
TEST_F(IngestRun, ARejectedEmbeddingLeavesTheNextItemAlone) {
  sources_ = {{.name = "i",
               .table = "items",
               .format = "ndjson",
               .path = put("i.ndjson", "{\"item_id\":\"a\",\"embedding\":[1,null]}\n{\"item_id\":\"b\"}\n")}};
  const Report report = run();
  EXPECT_EQ(report.num_rejected(), 1) << report.to_text();
  EXPECT_EQ(report.num_items, 1) << report.to_text();
}

// The smallest integer times 1000 once wrapped to 1970.
TEST_F(IngestRun, SecondsOutOfRangeAreRejectedNotWrapped) {
  sources_ = {{.name = "e",
               .table = "events",
               .format = "ndjson",
               .path = put("e.ndjson",
                           "{\"event_id\":\"e\",\"action\":\"click\",\"user_id\":\"u\",\"item_id\":\"a\","
                           "\"ts_ms\":-9223372036854775808}\n"),
               .domain = "search",
               .time = "s"}};
  const Report report = run();
  EXPECT_EQ(report.num_rejected(), 1) << report.to_text();
  EXPECT_EQ(report.num_events, 0) << report.to_text();
}

}  // namespace
}  // namespace uniscale::ingest
