#include "serve/router.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace uniscale::serve {
namespace {

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    const auto named = [](const char* name) {
      return [name](const HttpRequest&, const PathValues& values) -> HttpReply {
        std::string body = name;
        for (const std::string& value : values) body += ' ' + value;
        return {.body = body};
      };
    };
    router_.add_plain("GET", "/v1/models", named("list"));
    router_.add_plain("POST", "/v1/models/{model}:load", named("load"));
    router_.add_plain("GET", "/v2/models/{model}/versions/{version}", named("version"));
    router_.add_plain("POST", "/same", named("post"));
    router_.add_plain("GET", "/same", named("get"));
    router_.add("GET", "/throws", [](const HttpRequest&, const PathValues&, const ReplyFunction&) {
      throw std::runtime_error("secret");
    });
    router_.add("GET", "/refuses", [](const HttpRequest&, const PathValues&, const ReplyFunction&) {
      throw Refusal{404, "unknown_model", "no such model"};
    });
    router_.add("GET", "/twice", [](const HttpRequest&, const PathValues&, const ReplyFunction& reply) {
      reply({.body = "first"});
      throw std::runtime_error("after the reply");
    });
  }
  HttpReply call(const std::string& method, const std::string& target) {
    HttpReply out;
    int replies = 0;
    router_.handle({.method = method, .target = target}, [&](HttpReply reply) {
      out = std::move(reply);
      ++replies;
    });
    EXPECT_EQ(replies, 1);
    return out;
  }
  Router router_;
};

TEST_F(RouterTest, MatchesSegments) {
  EXPECT_EQ(call("GET", "/v1/models").body, "list");
  EXPECT_EQ(call("HEAD", "/v1/models?x=/y").body, "list");
  EXPECT_EQ(call("POST", "/v1/models/a.b:load").body, "load a.b");
  EXPECT_EQ(call("GET", "/v2/models/m/versions/3").body, "version m 3");
  EXPECT_EQ(call("GET", "/same").body, "get");
  EXPECT_EQ(call("POST", "/same").body, "post");
}

TEST_F(RouterTest, OtherPathsAndMethods) {
  for (const char* path :
       {"", "/", "v1/models", "/v1/models/", "//v1/models", "/v1/models/:load", "/v2/models//versions/3",
        "/v2/models/m/versions/", "/v2/models/../m/versions/3"}) {
    EXPECT_EQ(call("POST", path).status, 404) << path;
  }
  EXPECT_EQ(call("PUT", "/v1/models").status, 405);
  EXPECT_NE(call("PUT", "/v1/models").body.find("expected GET"), std::string::npos);
}

TEST_F(RouterTest, ExceptionsBecomeOneReply) {
  EXPECT_EQ(call("GET", "/throws").status, 500);
  EXPECT_EQ(call("GET", "/throws").body.find("secret"), std::string::npos);
  EXPECT_EQ(call("GET", "/refuses").status, 404);
  EXPECT_EQ(call("GET", "/twice").body, "first");
}

}  // namespace
}  // namespace uniscale::serve
