#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "ingest/ingest.h"
#include "logstore/logstore.h"
#include "table/parquet.h"

namespace uniscale::ingest {
namespace {

class IngestRun : public testing::Test {
 protected:
  IngestRun() {
    char name[] = "/tmp/ingest_test_XXXXXX";
    folder_ = ::mkdtemp(name);
    options_.store = folder_ + "/store";
  }
  ~IngestRun() override { std::filesystem::remove_all(folder_); }
  std::string put(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  Report run(int threads = 1) { return ingest::run(options_, sources_, schema_, "", threads, {}); }
  std::string folder_;
  Options options_;
  std::vector<SourceOptions> sources_;
  schema::LogSchema schema_;
};

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

}  // namespace
}  // namespace uniscale::ingest
