// es3.md §9 in text files: each awkward thing is accepted by rule, repaired and counted, or quarantined with
// file, row and column. The table of rules: docs/ingest.md.
#include <zlib.h>
#include <zstd.h>

#include "ingest/ingest_run_test.h"

namespace uniscale::ingest {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AwkwardText : public IngestRun {
 protected:
  static std::string gzip(const std::string& text, const std::string& path) {
    gzFile out = gzopen(path.c_str(), "wb");
    gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
    gzclose(out);
    return path;
  }
  static std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
    return out;
  }
  const std::string events_ = "event_id,domain,action,user_id,item_id,ts_ms\n";
  const std::string click_ = "search,click,u,a,1772355600000";
};

TEST_F(AwkwardText, GzipAndZstdReadLikeThePlainFile) {
  std::string text = events_;
  for (int i = 0; i < 30'000; ++i) text += "e" + std::to_string(i) + "," + click_ + "\n";
  sources_ = {{.name = "s", .table = "events", .format = "csv", .path = put("e.csv", text)}};
  EXPECT_EQ(run().num_events, 30'000);
  const auto expected = data_of(options_.store);
  const std::string half = text.substr(0, text.find("e15000"));
  for (const std::string& path : {gzip(text, folder_ + "/e.csv.gz"), put("e.csv.zst", zstd(text)),
                                  put("two-frames.csv.zst", zstd(half) + zstd(text.substr(half.size())))}) {
    options_.store = path + ".store";
    sources_[0].path = path;
    EXPECT_EQ(run().num_rejected(), 0);
    EXPECT_EQ(data_of(options_.store), expected) << path;
  }
}

TEST_F(AwkwardText, DamagedCompressionNamesTheFile) {
  std::string text = events_;
  for (int i = 0; i < 3'000; ++i) text += "e" + std::to_string(i * 7919) + "," + click_ + "\n";
  const std::string whole = base::read_file(gzip(text, folder_ + "/whole.gz"));
  for (const auto& [name, content, why] :
       {std::tuple{"cut.csv.gz", whole.substr(0, whole.size() / 2), "the file ends inside a gzip stream"},
        std::tuple{"cut.csv.zst", zstd(text).substr(0, 2'000), "the file ends inside a zstd frame"},
        std::tuple{"noise.csv.zst", std::string("this is no zstd at all"), "Unknown frame descriptor"}}) {
    sources_ = {{.name = "s", .table = "events", .format = "csv", .path = put(name, content)}};
    EXPECT_THAT(error_of_run(), HasSubstr(std::string(name) + ": cannot be decompressed: " + why));
  }
  EXPECT_TRUE(logstore::LogStore(options_.store).days().empty());
}

TEST_F(AwkwardText, TsvBomCrlfAndQuotes) {
  const Report report = run_text("events", "tsv",
                                 "\xEF\xBB\xBF"
                                 "event_id\tdomain\taction\tuser_id\titem_id\tts_ms\r\n"
                                 "e1\tsearch\tclick\tu\t\"a\tb\"\t1772355600000\r\n"
                                 "\r\n"
                                 "e2\tsearch\tclick\tu\t\"say \"\"x\"\"\r\ny\"\t1772355600001\r\n");
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_THAT(texts("events", "event_id", "2026-03-01"), ElementsAre("e1", "e2"));
  EXPECT_THAT(texts("events", "item_id", "2026-03-01"), ElementsAre("a\tb", "say \"x\"\r\ny"));
}

TEST_F(AwkwardText, BomAndCrlfInNdjson) {
  const Report report =
      run_text("items", "ndjson", "\xEF\xBB\xBF{\"item_id\":\"a\"}\r\n\r\n{\"item_id\":\"b\"}\r\n");
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_THAT(item_texts("item_id"), ElementsAre("a", "b"));
}

// A last line without an end counts if it parses, and is `truncated` if it does not. In CSV only the number
// of fields can tell.
TEST_F(AwkwardText, TruncatedLastLine) {
  EXPECT_EQ(run_text("items", "ndjson", "{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}").num_items, 2);
  run_text("items", "ndjson", "{\"item_id\":\"a\"}\n{\"item_id\":\"b");
  EXPECT_THAT(rejects(), ElementsAre("truncated  2"));
  EXPECT_EQ(run_text("events", "csv", events_ + "e1," + click_).num_events, 1);
  run_text("events", "csv", events_ + "e1," + click_ + "\ne2,search,cli");
  EXPECT_THAT(rejects(), ElementsAre("columns  3"));
  run_text("events", "csv", events_ + "e1,search,click,u,\"a,1772355600000\n");
  EXPECT_THAT(rejects(), ElementsAre("quote  2"));
}

TEST_F(AwkwardText, FilesWithoutRows) {
  for (const auto& [format, text] :
       {std::pair{"csv", std::string()}, std::pair{"csv", events_},
        std::pair{"tsv", std::string("event_id\tdomain\taction\titem_id\tts_ms")},
        std::pair{"ndjson", std::string()}, std::pair{"ndjson", std::string("\n\n")}}) {
    const Report report = run_text("events", format, text);
    EXPECT_EQ(report.num_rows(), 0) << format << text;
    EXPECT_TRUE(report.days.empty());
  }
}

TEST_F(AwkwardText, BadUtf8IsQuarantinedWithItsColumn) {
  run_text("events", "csv", events_ + "e1,search,click,u,\xFFx,1772355600000\ne2," + click_ + "\n");
  EXPECT_THAT(rejects(), ElementsAre("utf8 item_id 2"));
  EXPECT_EQ(quarantined()[0]["file"], folder_ + "/s.csv");
  for (const char* bad : {"\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\x80"}) {
    run_text("items", "csv", "item_id,title\na," + std::string(bad) + "\n");
    EXPECT_THAT(rejects(), ElementsAre("utf8 title 2")) << bad;
  }
  run_text("items", "ndjson", "{\"item_id\":\"\xFF\"}\n{\"item_id\":\"\\ud800\"}\n");
  EXPECT_THAT(rejects(), ElementsAre("json  1", "json  2"));
}

TEST_F(AwkwardText, QueriesAreKeptByteForByte) {
  const std::string long_query(70 * 1024, 'q');
  const std::string decomposed = "cafe\xCC\x81", rtl =
                                                     "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D \xE2\x80\xAE"
                                                     "abc";
  std::string text;
  const std::vector<std::string> json_queries = {
      "\"\"", "\"" + long_query + "\"", "\"" + decomposed + "\"", "\"" + rtl + "\"", "\"nul\\u0000here\"",
      "null"};
  for (size_t i = 0; i < json_queries.size(); ++i) {
    text += "{\"request_id\":\"r" + std::to_string(i) +
            "\",\"domain\":\"search\",\"user_id\":\"u\",\"ts_ms\":" +
            std::to_string(1772355600000 + static_cast<int64_t>(i)) + ",\"query\":" + json_queries[i] + "}\n";
  }
  const Report report = run_text("requests", "ndjson", text);
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_THAT(texts("requests", "query", "2026-03-01"),
              ElementsAre("", long_query, decomposed, rtl, std::string("nul\0here", 8), "∅"));
}

TEST_F(AwkwardText, IdsAreExactText) {
  const Report report = run_text(
      "items", "ndjson",
      "{\"item_id\":9007199254740993}\n{\"item_id\":9007199254740992}\n{\"item_id\":18446744073709551615}\n"
      "{\"item_id\":-9223372036854775809}\n{\"item_id\":-3}\n{\"item_id\":\"-3 "
      "\"}\n{\"item_id\":\"007\"}\n{\"item_id\":7}\n"
      "{\"item_id\":\"Ab\"}\n{\"item_id\":\"aB\"}\n{\"item_id\":\"nul\\u0000\"}\n{\"item_id\":\"nul\"}\n");
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_THAT(
      item_texts("item_id"),
      ElementsAre("-3", "-3 ", "-9223372036854775809", "007", "18446744073709551615", "7", "9007199254740992",
                  "9007199254740993", "Ab", "aB", "nul", std::string("nul\0", 4)));
  run_text("items", "ndjson",
           "{\"item_id\":1.5}\n{\"item_id\":true}\n{\"item_id\":[1]}\n{\"item_id\":null}\n{}\n{\"item_id\":"
           "\"\"}\n");
  EXPECT_THAT(rejects(), ElementsAre("type item_id 1", "type item_id 2", "type item_id 3",
                                     "missing item_id 4", "missing item_id 5", "missing item_id 6"));
}

TEST_F(AwkwardText, NullListEmptyListAndListOfNull) {
  const std::string head = "\"domain\":\"search\",\"user_id\":\"u\",\"ts_ms\":1772355600000";
  const auto counts = [&](const std::string& list) {
    const Report report = run_text("requests", "ndjson", "{\"request_id\":\"r\"," + head + list + "}\n");
    EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
    EXPECT_EQ(report.num_requests, 1);
    EXPECT_EQ(report.num_candidates, 0);
    return report.repaired;
  };
  EXPECT_EQ(counts(",\"candidates\":null"), (Counts{{"null_list_as_empty", 1}}));
  EXPECT_EQ(counts(",\"candidates\":[]"), Counts{});
  EXPECT_EQ(counts(""), Counts{});
  EXPECT_EQ(counts(",\"candidates\":[null]"), (Counts{{"null_candidate_dropped", 1}}));
  EXPECT_EQ(counts(",\"candidates\":[{\"position\":1}]"), (Counts{{"candidate_without_item_dropped", 1}}));
  run_text("requests", "ndjson",
           "{\"request_id\":\"r\"," + head + ",\"candidates\":{}}\n{\"request_id\":\"r\"," + head +
               ",\"candidates\":[1]}\n");
  EXPECT_THAT(rejects(), ElementsAre("type  1", "type  2"));
}

TEST_F(AwkwardText, AListOfTenThousand) {
  std::string text = R"({"request_id":"r","domain":"search","ts_ms":1772355600000,"candidates":[)";
  for (int i = 0; i < 10'000; ++i)
    text += (i > 0 ? "," : "") + std::string("{\"item_id\":\"i") + std::to_string(i) + "\"}";
  const Report report = run_text("requests", "ndjson", text + "]}\n");
  EXPECT_EQ(report.num_rejected(), 0) << report.to_text();
  EXPECT_EQ(report.num_candidates, 10'000);
}

TEST_F(AwkwardText, TimesAreReadByRuleOrRejectedNeverShifted) {
  const auto run_time = [&](const std::string& value) {
    return run_text("events", "ndjson",
                    "{\"event_id\":\"e\",\"domain\":\"d\",\"action\":\"click\",\"item_id\":\"a\",\"ts_ms\":" +
                        value + "}\n");
  };
  for (const char* value :
       {"1772355600000", "\"1772355600000\"", "1772355600000.0", "\"2026-03-01T09:00:00Z\"",
        "\"2026-03-01T10:00:00+01:00\"", "\"2026-03-01 09:00:00\""}) {
    EXPECT_EQ(run_time(value).num_events, 1) << value;
    EXPECT_THAT(texts("events", "ts_ms", "2026-03-01"), ElementsAre("1772355600000")) << value;
  }
  EXPECT_EQ(run_time("\"2026-03-01T09:00:00\"").repaired, (Counts{{"time_without_zone_as_utc", 1}}));
  EXPECT_EQ(run_time("\"9999-12-31T23:59:59.999Z\"").days, std::vector<std::string>{"9999-12-31"});
  for (const char* value :
       {"\"10000-01-01T00:00:00Z\"", "253402300800000", "-1", "1772355600", "\"yesterday\"", "1e300"}) {
    run_time(value);
    EXPECT_THAT(rejects(), ElementsAre("time ts_ms 1")) << value;
  }
  run_time("true");
  EXPECT_THAT(rejects(), ElementsAre("type ts_ms 1"));
  run_time("null");
  EXPECT_THAT(rejects(), ElementsAre("missing ts_ms 1"));
}

TEST_F(AwkwardText, HiveFoldersGiveColumnsThatFilesLack) {
  put("raw/dt=2026-03-01/domain=search/1.csv", "event_id,action,item_id,ts_ms\ne1,click,a,1772355600000\n");
  put("raw/dt=2026-03-01/domain=feed/2.csv",
      "event_id,action,item_id,ts_ms,domain\ne2,click,a,1772355600001,own\n");
  sources_ = {{.name = "s", .table = "events", .format = "csv", .path = folder_ + "/raw"}};
  EXPECT_EQ(run().num_rejected(), 0);
  EXPECT_THAT(texts("events", "domain", "2026-03-01"), ElementsAre("search", "own"));
  // A partition may be renamed like a column.
  sources_[0].columns = {{"user_id", "dt"}};
  run();
  EXPECT_THAT(texts("events", "user_id", "2026-03-01"), ElementsAre("2026-03-01", "2026-03-01"));
}

TEST_F(AwkwardText, ColumnsAreFoundByNameInEveryFile) {
  put("raw/1.csv", "event_id,domain,action,item_id,ts_ms\ne1,search,click,a,1772355600000\n");
  put("raw/2.csv", "ts_ms,extra,item_id,action,domain,event_id\n2026-03-01T09:00:01Z,?,b,click,search,e2\n");
  sources_ = {{.name = "s", .table = "events", .format = "csv", .path = folder_ + "/raw"}};
  EXPECT_EQ(run().num_rejected(), 0);
  EXPECT_THAT(texts("events", "item_id", "2026-03-01"), ElementsAre("a", "b"));
  put("raw/3.csv", "event_id,domain,action,item\ne3,search,click,a\n");
  EXPECT_EQ(error_of_run(),
            folder_ +
                "/raw/3.csv: column \"item_id\" for item_id is missing; the file has: event_id, "
                "domain, action, item");
}

TEST_F(AwkwardText, TooLongRowsAreRejectedWithoutBeingHeld) {
  options_.max_row_bytes = 1024;
  run_text("items", "ndjson", "{\"item_id\":\"" + std::string(5000, 'x') + "\"}\n{\"item_id\":\"a\"}\n");
  EXPECT_THAT(rejects(), ElementsAre("too_long  1"));
  EXPECT_LE(quarantined()[0]["raw"].get<std::string>().size(), 2048U);
  run_text("items", "csv", "item_id\n" + std::string(5000, 'x') + "\na\n");
  EXPECT_THAT(rejects(), ElementsAre("too_long  2"));
  EXPECT_THAT(item_texts("item_id"), ElementsAre("a"));
}

TEST_F(AwkwardText, CandidatesOfCsvMustBeALList) {
  const std::string head = "request_id,domain,ts_ms,candidates\nr,search,1772355600000,";
  run_text("requests", "csv", head + "\"[{]\"\n");
  EXPECT_THAT(rejects(), ElementsAre("json  2"));
  run_text("requests", "csv", head + "3\n");
  EXPECT_THAT(rejects(), ElementsAre("type  2"));
}

TEST_F(AwkwardText, UbiOldNamesTimesAndPositions) {
  const Report report = run_text(
      "requests", "ubi",
      // bulk format, old id list, naive time
      "{\"index\":{\"_index\":\"ubi_queries\",\"_id\":\"1\"}}\n"
      R"({"query_id":"q1","user_id":"u","user_query":"a","timestamp":"2026-03-01T09:00:00.000","query_response_object_ids":["x",7]})"
      "\n"
      // epoch milliseconds, ordinal as a number
      R"({"query_id":"q2","client_id":"c","user_query":"b","timestamp":1772355600000,"query_response_hit_ids":["y"]})"
      "\n"
      "{\"create\":{\"_index\":\"ubi_events\",\"_id\":\"e-1\"}}\n"
      R"({"action_name":"click","query_id":"q1","client_id":"c","timestamp":"2026-03-01T09:00:05Z","event_attributes":{"object":{"object_id":"x"},"position":{"ordinal":3}}})"
      "\n"
      // pointer coordinates are no rank
      R"({"action_name":"add_to_cart","query_id":"q1","timestamp":"1772355606000","event_attributes":{"object_id":"x","position":{"x":10,"y":20}}})"
      "\n"
      R"({"action_name":"scroll","query_id":"q1","timestamp":1772355606000})"
      "\n"
      R"({"action_name":"click","query_id":"q1","timestamp":"soon","event_attributes":{"object":{"object_id":"x"}}})"
      "\n{\"delete\":{\"_index\":\"ubi_events\",\"_id\":\"9\"}}\n");
  EXPECT_EQ(report.num_requests, 2) << report.to_text();
  EXPECT_EQ(report.num_candidates, 3);
  EXPECT_EQ(report.num_events, 2);
  EXPECT_EQ(report.repaired, (Counts{{"time_without_zone_as_utc", 1}}));
  EXPECT_EQ(report.cleaned, (Counts{{"ubi_delete_action", 1}, {"ubi_event_without_item", 1}}));
  EXPECT_EQ(report.rejected, (Counts{{"time", 1}}));
  EXPECT_THAT(texts("requests", "request_id", "2026-03-01"), testing::UnorderedElementsAre("q1", "q2"));
  EXPECT_THAT(texts("events", "action", "2026-03-01"), testing::UnorderedElementsAre("click", "cart"));
}

}  // namespace
}  // namespace uniscale::ingest
