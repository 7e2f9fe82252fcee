#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/planted_bundle_test.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;

class VersionsTest : public ::testing::Test {
 protected:
  void start(bool keep_previous = true) {
    service_.reset();
    models_ = std::make_unique<ModelSet>(folder_.path(), metrics_, runtime::Precision::Fp32, keep_previous);
    models_->refresh();
    service_ = std::make_unique<Service>(options_, *models_, metrics_);
  }
  HttpReply post(const std::string& target, const std::string& body = R"({"items":{"ids":["i1","i2"]}})") {
    return service_->handle({.method = "POST",
                             .target = target,
                             .content_type = "application/json",
                             .body = body,
                             .received = std::chrono::steady_clock::now()});
  }
  json::Value scores(const std::string& target) {
    const HttpReply reply = post(target);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body, "reply").at("scores");
  }
  std::string refusal(const std::string& target) {
    const HttpReply reply = post(target);
    EXPECT_EQ(reply.status, 404) << reply.body;
    return json::parse(reply.body, "reply").at("error").get<std::string>();
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  std::unique_ptr<ModelSet> models_;
  std::unique_ptr<Service> service_;
};

TEST_F(VersionsTest, TheVersionBeforeIsKeptByItsNumber) {
  planted::publish(folder_.path(), "main", 1);
  start();
  const json::Value first = scores("/v1/rank/main");
  EXPECT_EQ(scores("/v1/rank/main?version=1"), first);
  EXPECT_EQ(refusal("/v1/rank/main?version=2"), "model \"main\" serves version 1");
  planted::publish(folder_.path(), "main", 2);
  models_->refresh();
  const json::Value second = scores("/v1/rank/main");
  EXPECT_NE(second, first);
  EXPECT_EQ(scores("/v1/rank/main?version=1"), first);
  EXPECT_EQ(scores("/v1/rank/main?other=1&version=2"), second);
  EXPECT_EQ(post("/v2/models/main/versions/1/infer",
                 R"({"inputs":[{"name":"item_ids","datatype":"BYTES","shape":[1],"data":["i1"]}]})")
                .status,
            200);
  planted::publish(folder_.path(), "main", 3);
  models_->refresh();
  EXPECT_EQ(refusal("/v1/rank/main?version=1"), "model \"main\" serves version 3 and keeps version 2");
  EXPECT_EQ(refusal("/v1/rank/main?version=03"), "model \"main\" serves version 3 and keeps version 2");
  models_->load_current("main");
  EXPECT_EQ(scores("/v1/rank/main?version=2"), second) << "loading the same again keeps the one before";
}

TEST_F(VersionsTest, AfterAStartTheVersionBeforeIsLoadedInPassing) {
  for (uint64_t seed : {1, 2, 3}) planted::publish(folder_.path(), "main", seed);
  start();
  EXPECT_EQ(refusal("/v1/rank/main?version=2"), "model \"main\" serves version 3");
  models_->refresh();
  EXPECT_EQ(scores("/v1/rank/main?version=2").size(), 2U);
}

TEST_F(VersionsTest, KeepingCanBeTurnedOff) {
  for (uint64_t seed : {1, 2}) planted::publish(folder_.path(), "main", seed);
  start(false);
  models_->refresh();
  planted::publish(folder_.path(), "main", 3);
  models_->refresh();
  EXPECT_EQ(refusal("/v1/rank/main?version=2"), "model \"main\" serves version 3");
}

TEST_F(VersionsTest, ABadVersionBeforeIsLoggedAndLeftAlone) {
  planted::publish(folder_.path(), "main", 1, 1e-2);
  planted::publish(folder_.path(), "main", 2);
  start();
  models_->refresh();
  EXPECT_EQ(refusal("/v1/rank/main?version=1"), "model \"main\" serves version 2");
  EXPECT_EQ(scores("/v1/rank/main").size(), 2U);
}

TEST(QueryValue, FindsWholeNamesOnly) {
  const auto value = [](const std::string& target, const char* name) {
    return query_value({.method = "GET", .target = target}, name);
  };
  EXPECT_EQ(value("/a?version=3", "version"), "3");
  EXPECT_EQ(value("/a?x=1&version=3&y=2", "version"), "3");
  EXPECT_EQ(value("/a?aversion=3&versions=4", "version"), "");
  EXPECT_EQ(value("/version=3", "version"), "");
  EXPECT_EQ(value("/a?version", "version"), "");
  EXPECT_EQ(value("/a?&&version=&", "version"), "");
}

}  // namespace
}  // namespace uniscale::serve
