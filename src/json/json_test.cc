#include "json/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace uniscale::json {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

template <class Body>
std::string user_error(Body body) {
  try {
    body();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Json, KeepsTheOrderOfKeys) { EXPECT_EQ(dump(parse(R"({"z":1,"a":2})", "t"), -1), R"({"z":1,"a":2})"); }

TEST(Json, NamesTheSourceOfASyntaxError) {
  EXPECT_THAT([] { parse("{\"a\": }", "x.json:3"); },
              ThrowsMessage<base::UserError>(HasSubstr("x.json:3: not valid JSON")));
}

TEST(Json, RefusesDeepNestingBeforeBuildingIt) {
  const std::string deep = std::string(kMaxDepth + 1, '[') + std::string(kMaxDepth + 1, ']');
  EXPECT_THAT([&] { parse(deep, "t"); },
              ThrowsMessage<base::UserError>(HasSubstr("nested deeper than 100 levels at byte 100")));
  EXPECT_NO_THROW(parse(std::string(kMaxDepth, '[') + std::string(kMaxDepth, ']'), "t"));
  // Brackets inside a string do not nest, also behind an escaped quote.
  EXPECT_NO_THROW(parse("\"\\\"" + std::string(500, '[') + "\"", "t"));
  EXPECT_THROW(parse(std::string(5'000'000, '['), "t"), base::UserError);
}

TEST(Json, RefusesNumbersThatItCannotHold) {
  Value value;
  value["x"] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(dump(value), base::InternalError);
  EXPECT_THROW(number_text(std::numeric_limits<double>::infinity()), base::InternalError);
}

TEST(Json, NumbersReadBackAndKeepAPoint) {
  EXPECT_EQ(number_text(1.0), "1.0");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(std::stod(number_text(1.0 / 3)), 1.0 / 3);
}

TEST(Json, TypedMembersSayWhatTheyWanted) {
  const Value value = parse(R"({"a":"text","n":3})", "t");
  EXPECT_EQ(int_member(value, "n", "t"), 3);
  EXPECT_THAT([&] { int_member(value, "a", "m.json"); },
              ThrowsMessage<base::UserError>("m.json: a: expected an integer, got string"));
  EXPECT_THAT([&] { string_member(value, "b", "m.json"); },
              ThrowsMessage<base::UserError>("m.json: b: missing"));
  EXPECT_THAT([&] { member(parse("[]", "t"), "b", "m.json"); },
              ThrowsMessage<base::UserError>("m.json: expected an object, got array"));
}

TEST(Json, ANameTwiceIsRefused) {
  EXPECT_EQ(user_error([] { parse(R"({"a": 1, "b": {"a": 2}, "a": 3})", "x"); }),
            "x: not valid JSON: the name \"a\" stands twice in one object");
  EXPECT_NO_THROW(parse(R"([{"a": 1}, {"a": {"a": 2}}])", "x"));
}

TEST(Json, TooManyNamesAreRefused) {
  std::string text = "{";
  for (size_t i = 0; i <= kMaxNames; ++i) text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(user_error([&] { parse(text + "}", "x"); }), "x: JSON object with more than 32768 names");
}

TEST(Json, MembersCheckTypes) {
  const Value value = parse(R"({"s": "t", "i": -3, "d": 2, "b": true, "big": 18446744073709551615})", "f");
  EXPECT_EQ(string_member(value, "s", "f"), "t");
  EXPECT_EQ(int_member(value, "i", "f"), -3);
  EXPECT_EQ(double_member(value, "d", "f"), 2.0);
  EXPECT_TRUE(bool_member(value, "b", "f"));
  EXPECT_EQ(user_error([&] { string_member(value, "q", "f"); }), "f: q: missing");
  EXPECT_EQ(user_error([&] { string_member(value, "i", "f"); }), "f: i: expected a string, got number");
  EXPECT_EQ(user_error([&] { int_member(value, "s", "f"); }), "f: s: expected an integer, got string");
  EXPECT_EQ(user_error([&] { double_member(value, "b", "f"); }), "f: b: expected a number, got boolean");
  EXPECT_EQ(user_error([&] { bool_member(value, "d", "f"); }), "f: d: expected true or false, got number");
  EXPECT_EQ(user_error([&] { int_member(value, "big", "f"); }),
            "f: big: expected an integer of 64 bits, got 18446744073709551615");
  EXPECT_EQ(user_error([&] { member(value["i"], "x", "f"); }), "f: expected an object, got number");
}

TEST(Json, InvalidUtf8IsReplacedOnWriting) {
  EXPECT_EQ(dump(Value(std::string("a\xff")), -1), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace uniscale::json
