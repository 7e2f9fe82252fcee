#include "serve/service.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "runtime/planted_bundle_test.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;
using ::testing::HasSubstr;
using ::testing::Not;

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() { planted::publish(folder_.path(), "main", 3); }
  void SetUp() override { models_.refresh(); }

  HttpReply call(const std::string& method, const std::string& target, const std::string& body = "",
                 const std::string& content_type = "application/json") {
    return service_.handle({.method = method,
                            .target = target,
                            .content_type = content_type,
                            .body = body,
                            .received = std::chrono::steady_clock::now()});
  }
  HttpReply rank(const std::string& body) { return call("POST", "/v1/rank/main", body); }
  json::Value ranked(const json::Value& body) {
    const HttpReply reply = rank(json::dump(body, -1));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body, "reply");
  }
  void expect_error(const HttpReply& reply, int status, const std::string& code, const std::string& text) {
    EXPECT_EQ(reply.status, status) << reply.body;
    const json::Value body = json::parse(reply.body, "reply");
    EXPECT_EQ(body.at("code"), code);
    EXPECT_THAT(body.at("error").get<std::string>(), HasSubstr(text));
    EXPECT_TRUE(body.at("request_id").is_string());
    EXPECT_EQ(reply.retry_after, status == 503 || status == 429);
  }
  static json::Value ids(int num_items) {
    json::Value list = json::Value::array();
    for (int i = 0; i < num_items; ++i) list.push_back("i" + std::to_string(i));
    return {{"items", {{"ids", list}}}};
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  ModelSet models_{folder_.path(), metrics_};
  Service service_{options_, models_, metrics_};
};

TEST_F(ServiceTest, RanksBestFirstAndReportsWhatIsUnknown) {
  json::Value body = ids(12);
  body["request_id"] = "81f4";
  body["user"] = {{"id", "stranger"}};
  body["return"] = {"scores", "order", "heads"};
  body["top_k"] = 4;
  const json::Value reply = ranked(body);
  EXPECT_EQ(reply.at("request_id"), "81f4");
  EXPECT_EQ(reply.at("model"), "main");
  EXPECT_EQ(reply.at("version"), "1");
  ASSERT_EQ(reply.at("scores").size(), 12U);
  ASSERT_EQ(reply.at("order").size(), 4U);
  EXPECT_EQ(reply.at("heads").at("click"), reply.at("scores"));
  EXPECT_EQ(reply.at("heads").at("purchase").size(), 12U);
  const auto scores = reply.at("scores").get<std::vector<double>>();
  const auto order = reply.at("order").get<std::vector<size_t>>();
  for (size_t i = 0; i + 1 < order.size(); ++i) EXPECT_GE(scores[order[i]], scores[order[i + 1]]);
  EXPECT_EQ(scores[order[0]], *std::max_element(scores.begin(), scores.end()));
  EXPECT_EQ(reply.at("missing").at("user"), true);
  EXPECT_EQ(reply.at("missing").at("items"), json::Value({10, 11}));
  EXPECT_TRUE(reply.at("degraded").is_null());
}

TEST_F(ServiceTest, TiesKeepTheOrderOfTheRequest) {
  const json::Value body = {{"items", {{"ids", {"i1", "i1", "i1"}}}}};
  EXPECT_EQ(ranked(body).at("order"), json::Value({0, 1, 2}));
}

TEST_F(ServiceTest, ScoresMoveWithTheirItems) {
  const json::Value forward = ranked({{"items", {{"ids", {"i1", "i2", "new"}}}}});
  const json::Value backward = ranked({{"items", {{"ids", {"new", "i2", "i1"}}}}});
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(forward.at("scores")[i], backward.at("scores")[2 - i]);
}

TEST_F(ServiceTest, NoItemsGiveEmptyLists) {
  const json::Value reply = ranked(ids(0));
  EXPECT_EQ(reply.at("scores"), json::Value::array());
  EXPECT_EQ(reply.at("order"), json::Value::array());
  EXPECT_EQ(reply.at("missing").at("items"), json::Value::array());
}

TEST_F(ServiceTest, ReturnChoosesTheParts) {
  json::Value body = ids(2);
  body["return"] = {"order"};
  const json::Value reply = ranked(body);
  EXPECT_FALSE(reply.contains("scores"));
  EXPECT_TRUE(reply.contains("order"));
  EXPECT_FALSE(reply.contains("heads"));
}

TEST_F(ServiceTest, WrongRequestsAreRefusedWithTheReason) {
  expect_error(rank("{"), 400, "invalid_request", "body");
  expect_error(rank("[]"), 400, "invalid_request", "body: expected an object, got array");
  expect_error(rank(""), 400, "invalid_request", "body");
  expect_error(rank(R"({"items":{"ids":["a"],"features":{"price":[NaN]}}})"), 400, "invalid_request", "body");
  expect_error(rank(R"({"items":{"ids":["a"],"features":{"price":[1e999]}}})"), 400, "invalid_request",
               "body");
  expect_error(rank("{\"items\":{\"ids\":[\"\xff\xfe\"]}}"), 400, "invalid_request", "body");
  expect_error(rank(R"({"items":{"ids":["a\u0000b"]}})"), 400, "invalid_request",
               "items.ids: a NUL character");
  expect_error(rank(R"({"items":{"ids":[""]}})"), 400, "invalid_request",
               "items.ids: expected 1 … 256 bytes, got 0");
  expect_error(rank(R"({"user":{"id":")" + std::string(257, 'x') + R"("},"items":{"ids":[]}})"), 400,
               "invalid_request", "user.id: expected 1 … 256 bytes, got 257");
  expect_error(rank(R"({"top_k":-1,"items":{"ids":[]}})"), 400, "invalid_request",
               "top_k: expected a whole number of at least 0");
  expect_error(rank(R"({"deadline_ms":0,"items":{"ids":[]}})"), 400, "invalid_request",
               "deadline_ms: expected a positive number of milliseconds");
  expect_error(rank(R"({"return":"scores","items":{"ids":[]}})"), 400, "invalid_request",
               "return: expected an array");
  expect_error(rank(R"({"return":["logits"],"items":{"ids":[]}})"), 400, "invalid_request",
               "return: expected \"scores\", \"order\", \"heads\" or \"stages\", got \"logits\"");
  expect_error(rank(R"({"context":{"domain":"feed"},"items":{"ids":[]}})"), 400, "invalid_request",
               "context.domain: this server ranks \"search\", got \"feed\"");
  expect_error(rank(R"({"items":{"ids":["a"],"features":{"prize":[1]}}})"), 400, "invalid_request",
               "unknown feature \"prize\"");
}

TEST_F(ServiceTest, DepthIsLimited) {
  const auto nested = [](int depth) {
    return R"({"items":{"ids":[]},"x":)" + std::string(static_cast<size_t>(depth - 1), '[') +
           std::string(static_cast<size_t>(depth - 1), ']') + "}";
  };
  EXPECT_EQ(rank(nested(100)).status, 200);
  expect_error(rank(nested(101)), 400, "invalid_request", "body");
  EXPECT_EQ(rank(nested(100'000)).status, 400);
}

TEST_F(ServiceTest, TooManyItemsAreRefused) {
  EXPECT_EQ(rank(json::dump(ids(1000), -1)).status, 200);
  expect_error(rank(json::dump(ids(1001), -1)), 413, "too_many_items",
               "items.ids: expected at most 1000 ids, got 1001");
  options_.max_items = 1'000'000;
  expect_error(rank(json::dump(ids(6000), -1)), 413, "too_many_items",
               "items.ids: expected at most 5000 ids, got 6000");
}

TEST_F(ServiceTest, UnknownFeaturesAreIgnoredWhereTheOptionSaysSo) {
  options_.strict_features = false;
  EXPECT_EQ(
      rank(
          R"({"user":{"features":{"town":"oslo"}},"items":{"ids":["i1"],"features":{"prize":[1],"price":[2]}}})")
          .status,
      200);
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_unknown_features_total 2\n"));
}

TEST_F(ServiceTest, UnknownModelsPathsAndMethods) {
  for (const char* name : {"../main", "main/..", "", "main/1"})
    expect_error(call("POST", std::string("/v1/rank/") + name, "{}"), 404, "not_found", "no such path");
  for (const char* name : {"other", "..", "main%2f..", ".hidden", "a b"})
    expect_error(call("POST", std::string("/v1/rank/") + name, "{}"), 404, "unknown_model", "no ");
  expect_error(call("POST", "/v1/rank/" + std::string(65, 'a'), "{}"), 404, "unknown_model", "no such model");
  expect_error(call("GET", "/v2/models/../ready"), 404, "unknown_model", "no such model");
  expect_error(call("GET", "/etc/passwd"), 404, "not_found", "no such path");
  expect_error(call("GET", "/v1/rank/main"), 405, "method_not_allowed", "expected POST");
  expect_error(call("POST", "/v1/models"), 405, "method_not_allowed", "expected GET");
}

TEST_F(ServiceTest, OtherContentTypesAreRefused) {
  const std::string body = json::dump(ids(1), -1);
  EXPECT_EQ(call("POST", "/v1/rank/main", body, "application/json; charset=utf-8").status, 200);
  EXPECT_EQ(call("POST", "/v1/rank/main", body, "").status, 200);
  expect_error(call("POST", "/v1/rank/main", body, "text/plain"), 415, "unsupported_media_type",
               "expected Content-Type: application/json");
  expect_error(call("POST", "/v1/rank/main", body, "application/jsonlines"), 415, "unsupported_media_type",
               "expected Content-Type: application/json");
}

TEST_F(ServiceTest, ALateRequestIsAnswered504WithItsId) {
  HttpRequest request{.method = "POST", .target = "/v1/rank/main", .content_type = "application/json"};
  request.body = R"({"request_id":"late","deadline_ms":10,"items":{"ids":["i1"]}})";
  request.received = std::chrono::steady_clock::now() - std::chrono::milliseconds(50);
  const HttpReply reply = service_.handle(request);
  expect_error(reply, 504, "deadline_exceeded", "the deadline of 10 ms has passed");
  EXPECT_EQ(json::parse(reply.body, "reply").at("request_id"), "late");
}

// Options are read when the service is made.
TEST_F(ServiceTest, MoreRequestsOfOneClientThanAllowedAre429) {
  options_.max_in_flight_per_client = 1;
  std::atomic<int> ok{0}, refused{0}, other{0};
  // Refused at once or served: with 8 threads against a limit of 1 both happen, and the count comes back to
  // nothing.
  const HttpRequest request{.method = "POST",
                            .target = "/v1/rank/main",
                            .content_type = "application/json",
                            .body = json::dump(ids(1000), -1),
                            .received = std::chrono::steady_clock::now(),
                            .client = "192.0.2.1"};
  for (int round = 0; round < 50 && refused == 0; ++round) {
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back([&] {
        const HttpReply reply = service_.handle(request);
        if (reply.status == 429)
          expect_error(reply, 429, "too_many_requests", "too many requests in flight of one client");
        ++(reply.status == 200 ? ok : reply.status == 429 ? refused : other);
      });
    }
    for (std::thread& client : clients) client.join();
  }
  EXPECT_GT(ok, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(service_.handle(request).status, 200);
  EXPECT_EQ(metrics_.in_flight, 0);
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_shed_total{reason=\"too_many_requests\"}"));
}

TEST_F(ServiceTest, MoreRequestsThanAllowedAreShed) {
  Options options;
  options.max_in_flight = 1;
  options.threads = 1;
  Service service(options, models_, metrics_);
  const HttpRequest request{.method = "POST",
                            .target = "/v1/rank/main",
                            .content_type = "application/json",
                            .body = json::dump(ids(1000), -1),
                            .received = std::chrono::steady_clock::now()};
  std::promise<HttpReply> first;
  service.handle(request, [&](HttpReply reply) { first.set_value(std::move(reply)); });
  HttpReply second;
  for (int i = 0; i < 20 && second.status != 503; ++i) {
    service.handle(request, [&](HttpReply reply) {
      if (reply.status == 503) second = reply;
    });
  }
  expect_error(second, 503, "queue_full", "too many requests in flight");
  EXPECT_EQ(first.get_future().get().status, 200);
  service.shut_down();
  EXPECT_THAT(metrics_.text(), HasSubstr("uniscale_shed_total{reason=\"queue_full\"}"));
}

TEST_F(ServiceTest, AfterStopRequestsAre503) {
  service_.stop();
  expect_error(rank(json::dump(ids(1), -1)), 503, "draining", "the server is shutting down");
}

TEST_F(ServiceTest, LongListsAreScoredInChunksLikeShortOnes) {
  json::Value all = json::Value::array();
  for (int i = 0; i < 1000; ++i) all.push_back("i" + std::to_string(i % 12));
  const json::Value whole = ranked({{"items", {{"ids", all}}}});
  const json::Value part = ranked(ids(12));
  for (size_t i = 0; i < 1000; ++i) EXPECT_EQ(whole.at("scores")[i], part.at("scores")[i % 12]);
}

TEST_F(ServiceTest, HealthFollowsDraining) {
  EXPECT_EQ(call("GET", "/v2/health/live").body, R"({"live":true})");
  EXPECT_EQ(call("GET", "/v2/health/ready").body, R"({"ready":true})");
  service_.begin_draining();
  EXPECT_EQ(call("GET", "/v2/health/live").status, 200);
  EXPECT_EQ(call("GET", "/v2/health/ready").status, 503);
  EXPECT_EQ(rank(json::dump(ids(1), -1)).status, 200) << "serves on while it drains";
}

TEST_F(ServiceTest, MetricsCountRequests) {
  rank(json::dump(ids(3), -1));
  rank("{");
  const std::string text = metrics_.text();
  EXPECT_THAT(text, HasSubstr("uniscale_rank_requests_total{model=\"main\",version=\"1\",code=\"200\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("uniscale_rank_requests_total{model=\"main\",version=\"1\",code=\"400\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("uniscale_candidates 3\n"));
  EXPECT_THAT(text, HasSubstr("uniscale_rank_duration_seconds_count 2\n"));
  EXPECT_THAT(text, HasSubstr("uniscale_queue_duration_seconds_count 2\n"));
  for (const char* stage : {"parse", "features", "score", "reply"}) {
    EXPECT_THAT(text,
                HasSubstr(fmt::format("uniscale_stage_duration_seconds_count{{stage=\"{}\"}} 1\n", stage)));
  }
  // Items i0 … i2 are known; neither user, device nor history was given.
  EXPECT_THAT(text, HasSubstr("uniscale_unknown_ids_total{table=\"users\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("uniscale_unknown_ids_total{table=\"items\"} 0\n"));
  for (const char* feature : {"user", "clicks", "city", "device"})
    EXPECT_THAT(text,
                HasSubstr(fmt::format("uniscale_feature_missing_total{{feature=\"{}\"}} 1\n", feature)));
  EXPECT_THAT(text, Not(HasSubstr("feature=\"price\"")));
  for (const char* name : {"request_success", "request_failure", "exec_count"})
    EXPECT_THAT(text, HasSubstr(fmt::format("nv_inference_{}{{model=\"main\",version=\"1\"}} 1\n", name)));
  EXPECT_THAT(text, HasSubstr("nv_inference_count{model=\"main\",version=\"1\"} 3\n"));
  for (const char* name : {"request", "queue", "compute_input", "compute_infer", "compute_output"})
    EXPECT_THAT(text, HasSubstr(fmt::format("# TYPE nv_inference_{}_duration_us counter\n", name)));
}

TEST_F(ServiceTest, ABadPackageLeavesTheOldOneServing) {
  planted::publish(folder_.path(), "main", 4, 1e-3);
  models_.refresh();
  EXPECT_EQ(ranked(ids(1)).at("version"), "1");
  EXPECT_THAT(metrics_.text(),
              HasSubstr("uniscale_model_loads_total{model=\"main\",result=\"refused\"} 1\n"));
  models_.refresh();
  EXPECT_THAT(metrics_.text(), HasSubstr("result=\"refused\"} 1\n")) << "tried once";
  const auto set_current = [&](const char* version) {
    std::ofstream(folder_.path() + "/main/CURRENT") << version << "\n";
    models_.refresh();
  };
  set_current("1");
  EXPECT_EQ(ranked(ids(1)).at("version"), "1");
  set_current("2");
  EXPECT_THAT(metrics_.text(), HasSubstr("result=\"refused\"} 2\n")) << "tried again when it comes back";
  planted::publish(folder_.path(), "main", 5);
  models_.refresh();
  EXPECT_EQ(ranked(ids(1)).at("version"), "3");
}

TEST_F(ServiceTest, DamagedWeightsAndWrongGoldenScoresAreNamed) {
  const auto error_of = [](const std::string& directory) -> std::string {
    try {
      load_model(directory, "main");
    } catch (const base::UserError& error) {
      return base::full_message(error);
    }
    return "no error";
  };
  EXPECT_THAT(error_of(planted::publish(folder_.path(), "main", 4, 1e-3)),
              HasSubstr("more than the tolerance 1e-05 apart"));
  const std::string directory = planted::publish(folder_.path(), "main", 4);
  {
    std::filesystem::permissions(directory + "/weights.safetensors", std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
    std::fstream file(directory + "/weights.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x7f');
  }
  EXPECT_THAT(error_of(directory), HasSubstr("weights.safetensors"));
}

TEST_F(ServiceTest, SwapsUnderTrafficLoseNothing) {
  std::atomic<bool> done{false};
  std::atomic<int> bad{0}, good{0};
  const std::string body = json::dump(ids(20), -1);
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      while (!done) ++(rank(body).status == 200 ? good : bad);
    });
  }
  for (uint64_t seed = 10; seed < 14; ++seed) {
    planted::publish(folder_.path(), "main", seed);
    models_.refresh();
    // On a busy machine the clients may not have had their turn yet: each version meets traffic.
    const int answered = good + bad;
    while (good + bad < answered + 4) std::this_thread::yield();
  }
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(ranked(ids(1)).at("version"), "5");
}

}  // namespace
}  // namespace uniscale::serve
