#include "json/json.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace uniscale::json {
namespace {

template <class Body> std::string user_error(Body body) {
  try {
    body();
  } catch (const base::UserError &error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, KeepsOrderAndReadsBack) {
  const Value value = parse(R"({"b": 1, "a": [true, null, 1.5, "x"]})", "here");
  EXPECT_EQ(dump(value, -1), R"({"b":1,"a":[true,null,1.5,"x"]})");
}

TEST(Json, BrokenTextNamesThePlace) {
  const std::string text =
      user_error([] { parse("{\"a\": }", "events.ndjson:12"); });
  EXPECT_TRUE(text.starts_with("events.ndjson:12: not valid JSON: ")) << text;
  EXPECT_NE(text.find("column 7"), std::string::npos) << text;
  EXPECT_NE(user_error([] { parse("", "x"); }), "no error");
  EXPECT_NE(user_error([] { parse("{} {}", "x"); }), "no error");
}

TEST(Json, DepthIsLimited) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_NO_THROW(parse(nested(kMaxDepth), "x"));
  EXPECT_EQ(user_error([&] { parse(nested(kMaxDepth + 1), "x"); }),
            "x: JSON nested deeper than 100 levels at byte 100");
  EXPECT_EQ(
      parse("\"" + std::string(500, '[') + "\"", "x").get<std::string>().size(),
      500U);
}

TEST(Json, ANameTwiceIsRefused) {
  EXPECT_EQ(
      user_error([] { parse(R"({"a": 1, "b": {"a": 2}, "a": 3})", "x"); }),
      "x: not valid JSON: the name \"a\" stands twice in one object");
  EXPECT_NO_THROW(parse(R"([{"a": 1}, {"a": {"a": 2}}])", "x"));
}

TEST(Json, TooManyNamesAreRefused) {
  std::string text = "{";
  for (size_t i = 0; i <= kMaxNames; ++i)
    text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(user_error([&] { parse(text + "}", "x"); }),
            "x: JSON object with more than 32768 names");
}

TEST(Json, MembersCheckTypes) {
  const Value value = parse(
      R"({"s": "t", "i": -3, "d": 2, "b": true, "big": 18446744073709551615})",
      "f");
  EXPECT_EQ(string_member(value, "s", "f"), "t");
  EXPECT_EQ(int_member(value, "i", "f"), -3);
  EXPECT_EQ(double_member(value, "d", "f"), 2.0);
  EXPECT_TRUE(bool_member(value, "b", "f"));
  EXPECT_EQ(user_error([&] { string_member(value, "q", "f"); }),
            "f: q: missing");
  EXPECT_EQ(user_error([&] { string_member(value, "i", "f"); }),
            "f: i: expected a string, got number");
  EXPECT_EQ(user_error([&] { int_member(value, "s", "f"); }),
            "f: s: expected an integer, got string");
  EXPECT_EQ(user_error([&] { double_member(value, "b", "f"); }),
            "f: b: expected a number, got boolean");
  EXPECT_EQ(user_error([&] { bool_member(value, "d", "f"); }),
            "f: d: expected true or false, got number");
  EXPECT_EQ(user_error([&] { int_member(value, "big", "f"); }),
            "f: big: expected an integer of 64 bits, got 18446744073709551615");
  EXPECT_EQ(user_error([&] { member(value["i"], "x", "f"); }),
            "f: expected an object, got number");
}

TEST(Json, NumbersThatJsonCannotHold) {
  EXPECT_THROW(dump(Value{{"a", std::numeric_limits<double>::quiet_NaN()}}),
               base::InternalError);
  EXPECT_THROW(number_text(std::numeric_limits<double>::infinity()),
               base::InternalError);
  EXPECT_EQ(number_text(3), "3.0");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1e300), "1e+300");
}

TEST(Json, InvalidUtf8IsReplacedOnWriting) {
  EXPECT_EQ(dump(Value(std::string("a\xff")), -1), "\"a\xef\xbf\xbd\"");
}

} // namespace
} // namespace uniscale::json
