#include "json/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace uniscale::json {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

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

}  // namespace
}  // namespace uniscale::json
