#include "serve/items_api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "runtime/planted_bundle_test.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;
using ::testing::HasSubstr;

class ItemsApiTest : public ::testing::Test {
 protected:
  ItemsApiTest() {
    planted::publish(folder_.path() + "/models", "main", 3);
    options_.items_log = folder_.path() + "/items";
    models_.refresh();
    start();
  }
  void start() {
    service_.reset();
    service_ = std::make_unique<Service>(options_, models_, metrics_);
  }
  HttpReply post(const std::string& target, const std::string& body,
                 const std::string& type = "application/json") {
    return service_->handle({.method = "POST",
                             .target = target,
                             .content_type = type,
                             .body = body,
                             .received = std::chrono::steady_clock::now()});
  }
  HttpReply upsert(const std::string& body) { return post("/v1/items:upsert", body); }
  json::Value rank(const std::string& body) {
    const HttpReply reply = post("/v1/rank/main", body);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body, "reply");
  }
  void expect_error(const HttpReply& reply, int status, const std::string& code, const std::string& text) {
    EXPECT_EQ(reply.status, status) << reply.body;
    const json::Value body = json::parse(reply.body, "reply");
    EXPECT_EQ(body.at("code"), code);
    EXPECT_THAT(body.at("error").get<std::string>(), HasSubstr(text));
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  ModelSet models_{folder_.path() + "/models", metrics_};
  std::unique_ptr<Service> service_;
};

TEST_F(ItemsApiTest, TheNextRequestSeesWhatWasGivenAndARestartToo) {
  const std::string bare = R"({"items":{"ids":["i1","new"]}})";
  const json::Value before = rank(bare);
  EXPECT_EQ(before.at("missing").at("items"), json::Value::array({1}));
  const HttpReply reply = upsert(
      R"({"items":[{"id":"new","features":{"price":9.5,"title":"red boots"}},{"id":"i1","features":{"price":3}}]})");
  EXPECT_EQ(reply.body, R"({"accepted":2,"fresh_items":2})");
  // As if the request had brought the values; i1's title is the table's still.
  const json::Value expected = rank(
      R"({"items":{"ids":["i1","new"],"features":{"price":[3,9.5],"title":["blue hat 1","red boots"]}}})");
  const json::Value after = rank(bare);
  EXPECT_EQ(after.at("scores"), expected.at("scores"));
  EXPECT_NE(after.at("scores"), before.at("scores"));
  EXPECT_EQ(after.at("missing").at("items"), json::Value::array());
  start();
  EXPECT_EQ(rank(bare).at("scores"), expected.at("scores"));
  // A request's value wins.
  EXPECT_EQ(rank(R"({"items":{"ids":["new"],"features":{"price":[1]}}})").at("scores"),
            rank(R"({"items":{"ids":["new"],"features":{"price":[1],"title":["red boots"]}}})").at("scores"));
  EXPECT_EQ(upsert(R"({"items":[{"id":"new","features":null},{"id":"i1","features":null}]})").body,
            R"({"accepted":2,"fresh_items":0})");
  EXPECT_EQ(rank(bare).at("scores"), before.at("scores"));
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_item_upserts_total{code=\"200\"} 2\n"));
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_fresh_items 0\n"));
}

TEST_F(ItemsApiTest, WrongUpsertsChangeNothing) {
  const json::Value before = rank(R"({"items":{"ids":["i1"]}})");
  const auto refused = [&](const std::string& body, const std::string& text) {
    expect_error(upsert(body), 400, "invalid_request", text);
  };
  refused("{", "body");
  refused("[]", "body: expected an object, got array");
  refused("{}", "body: items");
  refused(R"({"items":{}})", "body: items: expected an array, got object");
  refused(R"({"items":[{"id":"","features":{}}]})", "body: items[0].id: expected 1 … 256 bytes, got 0");
  refused(R"({"items":[{"id":"a\u0000","features":{}}]})", "body: items[0].id: a NUL character");
  refused(R"({"items":[{"id":"i1","features":{"price":2}},{"id":"i1","features":{"prize":1}}]})",
          "body: items[1].features: unknown feature \"prize\" (known: price, title)");
  refused(R"({"items":[{"id":"i1","features":{"price":"cheap"}}]})",
          "body: items[0].features.price: expected a number");
  refused(R"({"items":[{"id":"i1","features":{"title":7}}]})",
          "body: items[0].features.title: expected a string");
  refused(R"({"items":[{"id":"i1","features":{"title":[1,2]}}]})",
          "body: items[0].features.title: expected a string");
  expect_error(post("/v1/items:upsert", "{}", "text/plain"), 415, "unsupported_media_type",
               "expected Content-Type: application/json");
  EXPECT_EQ(rank(R"({"items":{"ids":["i1"]}})").at("scores"), before.at("scores"));
  EXPECT_EQ(upsert(R"({"items":[]})").body, R"({"accepted":0,"fresh_items":0})");
}

TEST_F(ItemsApiTest, LimitsAreKept) {
  const auto list = [](int from, int to) {
    std::string body = R"({"items":[)";
    for (int i = from; i < to; ++i)
      body += fmt::format(R"({}{{"id":"f{}","features":{{"price":{}}}}})", i > from ? "," : "", i, i);
    return body + "]}";
  };
  EXPECT_EQ(upsert(list(0, 1000)).status, 200);
  expect_error(upsert(list(0, 1001)), 413, "too_many_items", "items: expected at most 1000, got 1001");
  options_.max_fresh_items = 1500;
  expect_error(upsert(list(1000, 1501)), 413, "too_many_fresh_items",
               "expected at most 1500 fresh items, would have 1501");
  EXPECT_EQ(upsert(list(500, 1500)).status, 200);
  EXPECT_EQ(upsert(list(0, 10)).status, 200) << "what stands may change";
}

TEST_F(ItemsApiTest, UnknownColumnsAreDroppedWhereTheOptionSaysSo) {
  options_.strict_features = false;
  EXPECT_EQ(upsert(R"({"items":[{"id":"new","features":{"colour":"red","price":2}}]})").status, 200);
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_unknown_features_total 1\n"));
}

TEST_F(ItemsApiTest, WithoutALogThereAreNoUpserts) {
  options_.items_log = "";
  start();
  expect_error(upsert("{}"), 501, "not_enabled", "no items log: start the server with --items-log FOLDER");
}

TEST_F(ItemsApiTest, AfterTheEndUpsertsAre503) {
  service_->shut_down();
  expect_error(upsert(R"({"items":[]})"), 503, "draining", "the server is shutting down");
}

TEST_F(ItemsApiTest, ALogThatCannotBeWrittenChangesNothing) {
  ASSERT_EQ(upsert(R"({"items":[{"id":"new","features":{"price":2}}]})").status, 200);
  // The disk is full from here on.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{.rlim_cur = 100, .rlim_max = old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const HttpReply reply = upsert(R"({"items":[{"id":"newer","features":{"price":2}}]})");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  expect_error(reply, 503, "items_log_failed", "the items log cannot be written; nothing was changed");
  EXPECT_TRUE(reply.retry_after);
  EXPECT_EQ(rank(R"({"items":{"ids":["new","newer"]}})").at("missing").at("items"), json::Value::array({1}));
  EXPECT_EQ(upsert(R"({"items":[{"id":"newer","features":{"price":2}}]})").status, 200);
  start();
  EXPECT_EQ(rank(R"({"items":{"ids":["new","newer"]}})").at("missing").at("items"), json::Value::array());
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_items_log_torn_bytes 0\n"));
}

TEST_F(ItemsApiTest, UpsertsBesideTrafficAreSeenAtOnceAndWhole) {
  std::atomic<bool> done{false};
  std::atomic<int> mixed{0};
  // Both items change in one upsert; a request sees both old or both new.
  std::thread reader([&] {
    while (!done) {
      const json::Value scores =
          rank(R"({"items":{"ids":["a","b"],"features":{"title":["x","x"]}}})").at("scores");
      // Different ids, so compare each with its own history: equal prices give a fixed pair.
      static thread_local std::map<double, double> pairs;
      const auto [at, is_new] = pairs.emplace(scores[0].get<double>(), scores[1].get<double>());
      if (!is_new && at->second != scores[1].get<double>()) ++mixed;
    }
  });
  for (int i = 0; i < 100; ++i) {
    const double price = i % 7;
    const std::string body = fmt::format(
        R"({{"items":[{{"id":"a","features":{{"price":{0}}}}},{{"id":"b","features":{{"price":{0}}}}}]}})",
        price);
    ASSERT_EQ(upsert(body).status, 200);
  }
  done = true;
  reader.join();
  EXPECT_EQ(mixed, 0);
}

}  // namespace
}  // namespace uniscale::serve
