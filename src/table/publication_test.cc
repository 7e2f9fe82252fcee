#include "table/publication.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"

namespace uniscale::table {
namespace {

namespace fs = std::filesystem;

class Store : public testing::Test {
 protected:
  void SetUp() override {
    store_ = testing::TempDir() + "publication_test_" + std::to_string(::getpid());
    fs::remove_all(store_);
  }
  void TearDown() override { fs::remove_all(store_); }

  static void put(const std::string& path, const std::string& text) {
    FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }

  // A part of the given folders whose every file holds `text`.
  void publish(const std::string& part, const std::vector<std::string>& folders, const std::string& text) {
    Publisher publisher(store_, part);
    for (const std::string& folder : folders) {
      put(publisher.data_path(folder), text);
      publisher.add_file(folder, 1);
    }
    publisher.publish({{"text", text}});
  }

  std::string manifest(const std::string& part) const { return store_ + "/manifests/" + part + ".json"; }

  std::string read_error(const std::string& content) {
    base::write_file_atomically(manifest("p"), content);
    try {
      read_publication(store_, "p");
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return "no error";
  }

  static std::string listing(const std::string& file) {
    return R"({"part":"p","generation":1,"body":{},"files":[{"path":")" + file +
           R"(","rows":1,"bytes":1,"hash":"x"}]})";
  }

  std::string store_;
};

TEST_F(Store, AnUnpublishedPartIsNothing) {
  EXPECT_FALSE(read_publication(store_, "dt=2026-03-01").has_value());
  EXPECT_TRUE(list_parts(store_, "").empty());
}

TEST_F(Store, ListsWhatWasPublished) {
  publish("dt=2026-03-02", {"b/x", "a/x"}, "hello");
  publish("dt=2026-03-01", {"c"}, "hello");
  publish("items", {"items"}, "hello");
  const auto publication = read_publication(store_, "dt=2026-03-02");
  ASSERT_TRUE(publication.has_value());
  EXPECT_EQ(publication->generation, 1);
  ASSERT_EQ(publication->files.size(), 2U);
  EXPECT_EQ(publication->files[0].path, "a/x/part-000001.parquet");
  EXPECT_EQ(publication->files[0].num_rows, 1);
  EXPECT_EQ(publication->files[0].num_bytes, 5);
  EXPECT_EQ(publication->files[0].hash, base::content_hash("hello"));
  EXPECT_EQ(publication->files[1].path, "b/x/part-000001.parquet");
  EXPECT_EQ(publication->body["text"], "hello");
  EXPECT_EQ(list_parts(store_, "dt="), (std::vector<std::string>{"dt=2026-03-01", "dt=2026-03-02"}));
}

TEST_F(Store, PublishingAgainReplacesAndRemovesTheOld) {
  publish("p", {"a", "b"}, "old");
  publish("p", {"a"}, "new");
  const auto publication = read_publication(store_, "p");
  EXPECT_EQ(publication->generation, 2);
  ASSERT_EQ(publication->files.size(), 1U);
  EXPECT_EQ(publication->files[0].path, "a/part-000002.parquet");
  EXPECT_EQ(base::list_files(store_, ".parquet"),
            (std::vector<std::string>{store_ + "/a/part-000002.parquet"}));
}

TEST_F(Store, TheCacheFollowsEverySwap) {
  PublicationCache cache(store_);
  EXPECT_EQ(cache.read("p"), nullptr);
  publish("p", {"a"}, "one");
  const auto first = cache.read("p");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->generation, 1);
  EXPECT_EQ(cache.read("p"), first) << "read once";
  // The same number of bytes, at once.
  publish("p", {"a"}, "two");
  ASSERT_NE(cache.read("p"), nullptr);
  EXPECT_EQ(cache.read("p")->generation, 2);
  EXPECT_EQ(cache.read("p")->body["text"], "two");
  EXPECT_EQ(first->body["text"], "one");
  EXPECT_EQ(cache.read("q"), nullptr);
  fs::remove(store_ + "/manifests/p.json");
  EXPECT_EQ(cache.read("p"), nullptr);
}

TEST_F(Store, APublisherSweepsWhatKilledOnesLeftBesideManifests) {
  publish("p", {"a"}, "one");
  const std::string dead = store_ + "/manifests/.p.json.2147483647.tmp";  // no process has so high a number
  const std::string alive = store_ + "/manifests/.q.json.1.tmp";
  for (const std::string& path : {dead, alive}) put(path, "half");
  publish("p", {"a"}, "two");
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
}

TEST_F(Store, APublisherThatGivesUpChangesNothing) {
  publish("p", {"a"}, "old");
  {
    Publisher publisher(store_, "p");
    put(publisher.data_path("a"), "half");
    publisher.add_file("a", 1);
  }
  EXPECT_EQ(read_publication(store_, "p")->body["text"], "old");
  EXPECT_EQ(base::read_file(store_ + "/a/part-000001.parquet"), "old");
}

TEST_F(Store, LeftoversOfAKilledWriterAreSweptByTheNext) {
  publish("p", {"a"}, "old");
  put(store_ + "/a/part-000002.parquet", "half written");
  put(store_ + "/a/part-000007.parquet", "of long ago");
  put(store_ + "/a/notes.txt", "not ours");
  put(store_ + "/manifests/.p.json.1.tmp", "{\"part\":");
  EXPECT_EQ(read_publication(store_, "p")->generation, 1);
  EXPECT_EQ(list_parts(store_, ""), (std::vector<std::string>{"p"}));
  publish("p", {"a"}, "new");
  EXPECT_EQ(base::list_files(store_ + "/a"),
            (std::vector<std::string>{store_ + "/a/notes.txt", store_ + "/a/part-000002.parquet"}));
  EXPECT_EQ(base::read_file(store_ + "/a/part-000002.parquet"), "new");
}

TEST_F(Store, PathsOutsideTheStoreAreRefused) {
  base::make_directories(store_ + "/manifests");
  for (const char* path : {"/etc/passwd", "../x", "a/../../x", "a//x", "", ".", "a/", "a/./x"}) {
    EXPECT_EQ(read_error(listing(path)), manifest("p") + ": files: a path outside the store: " + path);
  }
  EXPECT_EQ(read_error(listing("a/part-000001.parquet")), "no error");
}

TEST_F(Store, LinksAreRefused) {
  base::make_directories(store_ + "/manifests");
  base::make_directories(store_ + "/real");
  put(store_ + "/real/x", "x");
  fs::create_symlink(store_ + "/real/x", store_ + "/link");
  fs::create_directory_symlink(store_ + "/real", store_ + "/folder");
  EXPECT_EQ(read_error(listing("real/x")), "no error");
  EXPECT_EQ(read_error(listing("link")), manifest("p") + ": files: a link: link");
  EXPECT_EQ(read_error(listing("folder/x")), manifest("p") + ": files: a link: folder/x");
}

TEST_F(Store, BrokenManifestsAreNamed) {
  base::make_directories(store_ + "/manifests");
  EXPECT_TRUE(read_error("{\"part\":").starts_with(manifest("p")));
  EXPECT_TRUE(read_error("{}").starts_with(manifest("p")));
  EXPECT_EQ(read_error(R"({"generation":0,"body":{},"files":[]})"),
            manifest("p") + ": generation: expected 1 … 1000000000, got 0");
  EXPECT_EQ(read_error(R"({"generation":9223372036854775807,"body":{},"files":[]})"),
            manifest("p") + ": generation: expected 1 … 1000000000, got 9223372036854775807");
  EXPECT_EQ(read_error(R"({"generation":1,"body":{},"files":{}})"),
            manifest("p") + ": files: expected an array, got object");
  EXPECT_EQ(read_error(R"({"generation":1,"body":{},"files":[{"path":"a","rows":-1,"bytes":1,"hash":"x"}]})"),
            manifest("p") + ": files: a: expected rows and bytes ≥ 0");
  try {
    read_publication(store_, "../p");
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_EQ(std::string(error.what()), store_ + ": not a part's name: ../p");
  }
}

// Killed at any moment, a store holds the old part or the new one, whole.
TEST_F(Store, AKillLeavesTheOldPartOrTheNew) {
  const std::vector<std::string> folders = {"a", "b", "c", "d"};
  publish("p", folders, "0");
  base::RandomStream random(11, 1);
  for (int round = 1; round <= 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0;; ++i) publish("p", folders, std::to_string(round * 100'000 + i));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(12'000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto publication = read_publication(store_, "p");
    ASSERT_TRUE(publication.has_value());
    ASSERT_EQ(publication->files.size(), folders.size());
    for (const PublishedFile& file : publication->files) {
      const std::string content = base::read_file(store_ + "/" + file.path);
      ASSERT_EQ(content, publication->body["text"].get<std::string>());
      ASSERT_EQ(file.hash, base::content_hash(content));
    }
  }
  publish("p", folders, "last");
  EXPECT_EQ(base::list_files(store_, ".parquet").size(), folders.size());
}

}  // namespace
}  // namespace uniscale::table
