#include "serve/skim.h"

#include <gtest/gtest.h>

#include <string>

namespace uniscale::serve {
namespace {

TEST(Skim, FindsWhatAdmissionNeeds) {
  const Skim seen = skim(R"( { "request_id" : "81f4", "user":{"id":"a\"}]","ids":["x"]},
    "items":{"features":{"ids":[[1],{"a":2}]},"ids":[ "i1", "i\"2,", "]" ]}, "deadline_ms": 50.5 } )",
                         "items.ids");
  EXPECT_EQ(seen.request_id, "81f4");
  EXPECT_EQ(seen.num_items, 3);
  EXPECT_EQ(seen.deadline_ms, 50.5);
}

TEST(Skim, ListsOfTheTopLevel) {
  EXPECT_EQ(skim(R"({"documents":[{"text":"a,b"},"c",["d","e"],4]})", "documents").num_items, 4);
  EXPECT_EQ(skim(R"({"documents":[]})", "documents").num_items, 0);
}

TEST(Skim, NeverFails) {
  // Cut anywhere, and with every byte replaced in turn: it returns.
  const std::string body = R"({"request_id":"a\\","deadline_ms":5,"items":{"ids":["i1","\u0041"],"x":{}}})";
  for (size_t size = 0; size <= body.size(); ++size)
    EXPECT_LE(skim(body.substr(0, size), "items.ids").num_items, 2);
  for (size_t i = 0; i < body.size(); ++i) {
    for (char c : {'"', '\\', '[', ']', '{', '}', ',', ':', '\0', '\xff'}) {
      std::string changed = body;
      changed[i] = c;
      EXPECT_LE(skim(changed, "items.ids").num_items, 8);
    }
  }
  EXPECT_EQ(skim(std::string(1'000'000, '['), "items.ids").num_items, 0);
  EXPECT_EQ(skim(R"({"items":{"ids":)" + std::string(100'000, '[') + "}}", "items.ids").num_items, 1);
  EXPECT_EQ(skim(R"({"deadline_ms":"5"})", "items.ids").deadline_ms, 0);
  EXPECT_EQ(skim(R"({"deadline_ms":1e999})", "items.ids").deadline_ms, 0);
  EXPECT_EQ(skim(R"({"request_id":")" + std::string(257, 'x') + R"("})", "items.ids").request_id, "");
}

}  // namespace
}  // namespace uniscale::serve
