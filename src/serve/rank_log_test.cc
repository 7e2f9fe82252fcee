#include "serve/rank_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "runtime/planted_bundle_test.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;
namespace fs = std::filesystem;
using ::testing::ElementsAre;

std::string unpacked(const std::string& path) {
  const std::string packed = base::read_file(path);
  std::string out;
  for (size_t at = 0; at < packed.size();) {
    const size_t size = ZSTD_findFrameCompressedSize(packed.data() + at, packed.size() - at);
    EXPECT_FALSE(ZSTD_isError(size)) << path;
    std::string frame(ZSTD_getFrameContentSize(packed.data() + at, size), '\0');
    EXPECT_EQ(ZSTD_decompress(frame.data(), frame.size(), packed.data() + at, size), frame.size());
    out += frame;
    at += size;
  }
  return out;
}

class RankLogTest : public ::testing::Test {
 protected:
  RankLogTest() {
    planted::publish(folder_.path() + "/models", "main", 3);
    models_.refresh();
  }
  std::string log_folder() const { return folder_.path() + "/log"; }
  HttpReply rank(const std::string& body) {
    return service_.handle({.method = "POST",
                            .target = "/v1/rank/main",
                            .content_type = "application/json",
                            .body = body,
                            .received = std::chrono::steady_clock::now()});
  }
  std::vector<std::string> published() const { return base::list_files(log_folder(), ".ndjson.zst"); }
  std::vector<json::Value> lines_of(const std::string& path) const {
    std::vector<json::Value> out;
    std::string text = unpacked(path);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = text.find('\n', begin);
      EXPECT_NE(end, std::string::npos);
      out.push_back(json::parse(text.substr(begin, end - begin), "line"));
      begin = end + 1;
    }
    return out;
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  ModelSet models_{folder_.path() + "/models", metrics_};
  Service service_{options_, models_, metrics_};
};

TEST_F(RankLogTest, HoldsTheWholeListWithPositionsAndHashes) {
  {
    RankLog log(log_folder(), {}, metrics_);
    service_.engine().set_observer([&](const Ranking& ranking) { log.write(ranking); });
    const HttpReply reply = rank(
        R"({"request_id":"r\"1","user":{"id":"u1"},"query":{"text":"hat\n\u00e9"},"top_k":2,
            "context":{"ts_ms":1704103200000,"device":"ios"},
            "items":{"ids":["i1","new","i3"],"features":{"price":[1.5,null,2]}}})");
    ASSERT_EQ(reply.status, 200) << reply.body;
    rank(R"({"items":{"ids":["i1","new","i3"]}})");
    rank("{");  // refused: not logged
    service_.shut_down();
    service_.engine().set_observer(nullptr);
  }
  ASSERT_EQ(published().size(), 1U);
  const auto lines = lines_of(published()[0]);
  ASSERT_EQ(lines.size(), 2U);
  const json::Value& line = lines[0];
  EXPECT_EQ(line.at("request_id"), "r\"1");
  EXPECT_EQ(line.at("domain"), "search");
  EXPECT_EQ(line.at("ts_ms"), 1704103200000);
  EXPECT_EQ(line.at("user_id"), "u1");
  EXPECT_EQ(line.at("query"), "hat\n\u00e9");
  EXPECT_EQ(line.at("context"), json::Value({{"device", "ios"}}));
  EXPECT_EQ(line.at("model"), "main");
  EXPECT_EQ(line.at("version"), "1");
  ASSERT_EQ(line.at("candidates").size(), 3U);
  std::vector<int> positions;
  for (const json::Value& one : line.at("candidates")) {
    EXPECT_EQ(one.at("served_hash").get<std::string>().size(), 16U);
    positions.push_back(one.value("position", 0));
    EXPECT_FALSE(one.contains("score")) << "the engine's score, which the request did not bring";
  }
  std::sort(positions.begin(), positions.end());
  EXPECT_THAT(positions, ElementsAre(0, 1, 2)) << "the one beyond top_k was not shown";
  EXPECT_EQ(line.at("candidates")[0].at("price"), 1.5);
  EXPECT_TRUE(line.at("candidates")[1].at("price").is_null());
  // The same candidate seen with another price, and with the same one from the table (i3: 1.5).
  EXPECT_NE(lines[1].at("candidates")[0].at("served_hash"), line.at("candidates")[0].at("served_hash"));
  EXPECT_EQ(lines[1].at("candidates")[1].at("served_hash"), line.at("candidates")[1].at("served_hash"));
  EXPECT_NE(lines[1].at("feature_hash"), line.at("feature_hash"));
  EXPECT_EQ(lines[1].at("request_id").get<std::string>().size(), 18U)
      << "one of its own where the client gave none";
  EXPECT_GT(lines[1].at("ts_ms").get<int64_t>(), 1'700'000'000'000);
  EXPECT_EQ(metrics_.rank_log_lines, 2U);
  EXPECT_EQ(metrics_.rank_log_dropped, 0U);
}

TEST_F(RankLogTest, FilesAreRotatedBySize) {
  {
    RankLog log(log_folder(), {.max_file_bytes = 1, .flush_ms = 1}, metrics_);
    service_.engine().set_observer([&](const Ranking& ranking) { log.write(ranking); });
    for (size_t want = 1; want <= 3; ++want) {
      rank(R"({"items":{"ids":["i1"]}})");
      for (int i = 0; i < 2000 && published().size() < want; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_EQ(published().size(), want);
    }
    service_.shut_down();
    service_.engine().set_observer(nullptr);
  }
  EXPECT_EQ(published().size(), 3U) << "nothing waits, so no empty file";
}

TEST_F(RankLogTest, MoreThanTheBufferHoldsIsDroppedAndCounted) {
  RankLog log(log_folder(), {.max_waiting_bytes = 10}, metrics_);
  service_.engine().set_observer([&](const Ranking& ranking) { log.write(ranking); });
  EXPECT_EQ(rank(R"({"items":{"ids":["i1"]}})").status, 200);
  service_.shut_down();
  service_.engine().set_observer(nullptr);
  EXPECT_EQ(metrics_.rank_log_dropped, 1U);
}

TEST_F(RankLogTest, WholeFramesOfADeadServerAreKept) {
  fs::create_directories(log_folder());
  const std::string text = "{\"request_id\":\"a\"}\n";
  std::string frame(ZSTD_compressBound(text.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), text.data(), text.size(), 3));
  std::ofstream(log_folder() + "/.part-77.ndjson.zst", std::ios::binary)
      << frame << frame << frame.substr(0, frame.size() - 3);
  std::ofstream(log_folder() + "/.part-78.ndjson.zst", std::ios::binary) << frame.substr(0, 9);
  {
    RankLog log(log_folder(), {}, metrics_);
  }
  ASSERT_EQ(published().size(), 1U);
  EXPECT_EQ(unpacked(published()[0]), text + text);
  EXPECT_FALSE(fs::exists(log_folder() + "/.part-78.ndjson.zst"));
}

TEST_F(RankLogTest, AFolderThatCannotBeMadeIsAnError) {
  std::ofstream(folder_.path() + "/file") << "x";
  EXPECT_THROW(RankLog(folder_.path() + "/file/log", {}, metrics_), base::IoError);
}

}  // namespace
}  // namespace uniscale::serve
