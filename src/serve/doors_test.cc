// The doors beside /v1/rank: rerank, explain, load, the inference protocol over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include "runtime/planted_bundle_test.h"
#include "serve/compression.h"
#include "serve/explain_batch.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;
using ::testing::HasSubstr;

class DoorsTest : public ::testing::Test {
 protected:
  DoorsTest() {
    planted::publish(folder_.path(), "main", 3);
    models_.refresh();
  }
  HttpReply post(const std::string& target, const std::string& body) {
    return service_.handle({.method = "POST",
                            .target = target,
                            .content_type = "application/json",
                            .body = body,
                            .received = std::chrono::steady_clock::now()});
  }
  json::Value posted(const std::string& target, const json::Value& body) {
    const HttpReply reply = post(target, json::dump(body, -1));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body, "reply");
  }
  std::string error_of(const std::string& target, const std::string& body, int status) {
    const HttpReply reply = post(target, body);
    EXPECT_EQ(reply.status, status) << reply.body;
    return json::parse(reply.body, "reply").at("error");
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  ModelSet models_{folder_.path(), metrics_};
  Service service_{options_, models_, metrics_};
};

TEST_F(DoorsTest, RerankGivesEveryDocumentBestFirst) {
  const json::Value documents = {
      "i1", "a red hat", {{"id", "i2"}, {"price", 4.5}, {"url", "http://x"}}, {{"text", "a red hat"}}};
  const json::Value reply =
      posted("/v1/rerank", {{"model", "main"}, {"query", "hat"}, {"documents", documents}});
  const json::Value ranked =
      posted("/v1/rank/main", {{"query", {{"text", "hat"}}},
                               {"items",
                                {{"ids", {"i1", "text:1", "i2", "text:1"}},
                                 {"features", {{"price", {nullptr, nullptr, 4.5, nullptr}}}}}}});
  ASSERT_EQ(reply.at("results").size(), 4U);
  std::vector<double> by_place(4);
  double last = 2;
  for (const json::Value& one : reply.at("results")) {
    EXPECT_TRUE(one.at("index").is_number_integer());
    const double score = one.at("relevance_score");
    EXPECT_LE(score, last);
    last = score;
    by_place.at(one.at("index").get<size_t>()) = score;
  }
  EXPECT_EQ(by_place[1], by_place[3]) << "the same text, however it came";
  EXPECT_EQ(reply.at("meta").at("version"), "1");
  EXPECT_EQ(
      posted("/v1/rerank", {{"query", "hat"}, {"documents", documents}, {"top_n", 2}}).at("results").size(),
      2U)
      << "one model: it need not be named";
  EXPECT_EQ(
      posted("/v1/rerank", {{"query", "hat"}, {"documents", json::Value::array()}}).at("results").size(), 0U);
}

TEST_F(DoorsTest, RerankRefusesWithTheReason) {
  EXPECT_THAT(error_of("/v1/rerank", R"({"documents":[]})", 400), HasSubstr("query"));
  EXPECT_THAT(error_of("/v1/rerank", R"({"query":"q"})", 400), HasSubstr("documents"));
  EXPECT_THAT(error_of("/v1/rerank", R"({"query":"q","documents":[7]})", 400),
              HasSubstr("expected strings or objects"));
  EXPECT_THAT(error_of("/v1/rerank", R"({"query":"q","documents":[{}]})", 400),
              HasSubstr(R"(expected an "id" or a "text")"));
  EXPECT_THAT(error_of("/v1/rerank", R"({"query":"q","documents":[],"top_n":-1})", 400),
              HasSubstr("top_n: expected a whole number of at least 0"));
  EXPECT_THAT(error_of("/v1/rerank", R"({"model":"nobody","query":"q","documents":[]})", 404),
              HasSubstr("no model"));
  planted::publish(folder_.path(), "second", 4);
  models_.refresh();
  EXPECT_THAT(error_of("/v1/rerank", R"({"query":"q","documents":[]})", 400),
              HasSubstr("model: expected the name of a model"));
}

TEST_F(DoorsTest, ExplainTakesAwayOneGroupAtATime) {
  const json::Value request = {{"model", "main"},
                               {"item", 1},
                               {"user", {{"id", "u1"}}},
                               {"items", {{"ids", {"i1", "i2"}}, {"features", {{"price", {1.5, 2.5}}}}}}};
  const json::Value reply = posted("/v1/explain", request);
  const json::Value ranked = posted("/v1/rank/main", request);
  EXPECT_EQ(reply.at("item_id"), "i2");
  EXPECT_EQ(reply.at("score"), ranked.at("scores")[1]);
  ASSERT_EQ(reply.at("groups").size(), 3U);
  double last = 2;
  for (const json::Value& group : reply.at("groups")) {
    const double effect = group.at("effect");
    EXPECT_EQ(effect, reply.at("score").get<double>() - group.at("score_without").get<double>());
    EXPECT_LE(std::abs(effect), last);
    last = std::abs(effect);
    if (group.at("group") != "match") continue;
    // The group of the price alone: the same as ranking with no price.
    json::Value without = request;
    without["items"]["features"]["price"] = {nullptr, nullptr};
    EXPECT_EQ(group.at("score_without"), posted("/v1/rank/main", without).at("scores")[1]);
    EXPECT_EQ(group.at("features"), json::Value({"price"}));
    EXPECT_EQ(group.at("side"), "candidate");
  }
  EXPECT_THAT(error_of("/v1/explain", R"({"item":2,"items":{"ids":["a","b"]}})", 400),
              HasSubstr("item: expected a place in items.ids (0 … 1), got 2"));
}

TEST_F(DoorsTest, LoadIsForAdminsAndSaysWhatIsWrong) {
  const HttpRequest load{.method = "POST", .target = "/v1/models/main:load"};
  EXPECT_EQ(service_.handle(load).status, 404) << "not on the public port";
  const auto admin = [&] {
    std::promise<HttpReply> promise;
    service_.handle_admin(load, [&](HttpReply reply) { promise.set_value(std::move(reply)); });
    return promise.get_future().get();
  };
  planted::publish(folder_.path(), "main", 4);
  EXPECT_EQ(admin().body, R"({"model":"main","version":"2","state":"READY"})");
  planted::publish(folder_.path(), "main", 5, 1e-3);
  const HttpReply refused = admin();
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(refused.body, HasSubstr("more than the tolerance"));
  EXPECT_EQ(models_.find("main")->version, 2);
}

std::string bytes_tensor(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) {
    const auto size = static_cast<uint32_t>(text.size());
    out.append(reinterpret_cast<const char*>(&size), 4);
    out += text;
  }
  return out;
}

TEST_F(DoorsTest, InferTakesJsonAndBinaryAndAnswersAsAsked) {
  const json::Value json_body = {
      {"id", "42"},
      {"inputs",
       {{{"name", "item_ids"},
         {"datatype", "BYTES"},
         {"shape", {1, 2}},
         {"data", json::Value::array({json::Value({"i1", "i2"})})}},
        {{"name", "feature.price"}, {"datatype", "FP32"}, {"shape", {2}}, {"data", {1.5, nullptr}}}}}};
  const json::Value reply = posted("/v2/models/main/versions/1/infer", json_body);
  EXPECT_EQ(reply.at("id"), "42");
  EXPECT_EQ(reply.at("model_version"), "1");
  const json::Value ranked = posted(
      "/v1/rank/main", {{"items", {{"ids", {"i1", "i2"}}, {"features", {{"price", {1.5, nullptr}}}}}}});
  EXPECT_EQ(reply.at("outputs")[0].at("data"), ranked.at("scores"));
  EXPECT_EQ(reply.at("outputs")[1].at("data"), ranked.at("order"));
  EXPECT_EQ(reply.at("outputs")[1].at("datatype"), "INT32");

  const std::string ids = bytes_tensor({"i1", "i2"});
  const float prices[2] = {1.5F, std::nanf("")};
  std::string body = json::dump({{"inputs",
                                  {{{"name", "item_ids"},
                                    {"datatype", "BYTES"},
                                    {"shape", {2}},
                                    {"parameters", {{"binary_data_size", ids.size()}}}},
                                   {{"name", "feature.price"},
                                    {"datatype", "FP32"},
                                    {"shape", {2}},
                                    {"parameters", {{"binary_data_size", 8}}}}}},
                                 {"parameters", {{"binary_data_output", true}}}},
                                -1);
  HttpRequest request{
      .method = "POST", .target = "/v2/models/main/infer", .received = std::chrono::steady_clock::now()};
  request.inference_header_length = std::to_string(body.size());
  request.body = body + ids + std::string(reinterpret_cast<const char*>(prices), 8);
  request.content_encoding = "gzip";
  request.accept_encoding = "deflate";
  request.body = pack(request.body, "gzip");
  const HttpReply binary = service_.handle(request);
  ASSERT_EQ(binary.status, 200) << binary.body;
  EXPECT_EQ(binary.content_encoding, "deflate");
  EXPECT_EQ(binary.content_type, "application/octet-stream");
  const std::string plain = unpack(binary.body, "deflate", 1 << 20);
  const size_t length = std::stoul(binary.inference_header_length);
  ASSERT_EQ(plain.size(), length + 16);
  float scores[2];
  int32_t order[2];
  std::memcpy(scores, plain.data() + length, 8);
  std::memcpy(order, plain.data() + length + 8, 8);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(scores[i], static_cast<float>(ranked.at("scores")[i].get<double>()));
    EXPECT_EQ(order[i], ranked.at("order")[i]);
  }
}

TEST(Compression, RoundTripsAndLimits) {
  const std::string text(100'000, 'x');
  for (const char* encoding : {"gzip", "deflate"}) {
    const std::string packed = pack(text, encoding);
    EXPECT_LT(packed.size(), 2000U);
    EXPECT_EQ(unpack(packed, encoding, 100'000), text);
    EXPECT_THROW(unpack(packed, encoding, 99'999), Refusal);
    EXPECT_THROW(unpack(packed.substr(0, packed.size() - 1), encoding, 100'000), Refusal);
    EXPECT_THROW(unpack(packed + "x", encoding, 100'000), Refusal);
  }
  EXPECT_EQ(accepted_encoding("br, gzip;q=0, deflate;q=0.5"), "deflate");
  EXPECT_EQ(accepted_encoding("gzip, deflate"), "gzip");
  EXPECT_EQ(accepted_encoding("identity"), "");
}

}  // namespace
}  // namespace uniscale::serve
