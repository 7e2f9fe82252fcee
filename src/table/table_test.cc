#include "table/table.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace uniscale::table {
namespace {

TEST(Columns, AreViewsOfWhatTheyWereMadeFrom) {
  const Column ints = make_int64s({5, 6, 7}, {1, 0, 1});
  EXPECT_EQ(ints.length(), 3);
  EXPECT_EQ(ints.int64s()[2], 7);
  EXPECT_TRUE(ints.has_nulls());
  EXPECT_TRUE(ints.is_valid(0));
  EXPECT_FALSE(ints.is_valid(1));
  EXPECT_FALSE(make_floats({1.0F}).has_nulls());
}

TEST(Columns, NullTextIsNotEmptyText) {
  StringVector texts;
  texts.push("");
  texts.push_null();
  texts.push(std::string_view("a\0b", 3));
  const Column column = make_strings(std::move(texts));
  EXPECT_NE(column.string(0).data(), nullptr);
  EXPECT_EQ(column.string(0), "");
  EXPECT_EQ(column.string(1).data(), nullptr);
  EXPECT_EQ(column.string(2).size(), 3U);
}

TEST(Columns, ListsAndStructsKnowTheirChildren) {
  const Column list = make_list({0, 2, 2, 3}, make_struct({"x"}, {make_int32s({1, 2, 3})}, 3));
  EXPECT_EQ(list.list_begin(2), 2);
  EXPECT_EQ(list.list_end(1), 2);
  ASSERT_NE(list.child(0).find_child("x"), nullptr);
  EXPECT_EQ(list.child(0).find_child("x")->int32s()[2], 3);
  EXPECT_EQ(list.child(0).find_child("y"), nullptr);
}

TEST(Columns, MisuseIsAnInternalError) {
  EXPECT_THROW(static_cast<void>(make_int32s({1}).int64s()), base::InternalError);
  EXPECT_THROW(make_int32s({1, 2}, {1}), base::InternalError);
  EXPECT_THROW(make_list({0, 4}, make_int32s({1})), base::InternalError);
  EXPECT_THROW(make_struct({"a"}, {make_int32s({1})}, 2), base::InternalError);
  Table table;
  table.add("a", make_int32s({1}));
  EXPECT_THROW(table.add("b", make_int32s({1, 2})), base::InternalError);
}

TEST(Tables, NameWhatIsMissing) {
  Table table;
  table.add("a", make_int32s({1}));
  table.add("b", make_doubles({1}));
  const auto text = [&](std::string_view name, Type type) {
    try {
      table.require(name, type, "log.parquet");
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(text("a", Type::Int32), "");
  EXPECT_EQ(text("c", Type::Int32),
            "log.parquet: column c: expected int32, got no such column (there are: a, b)");
  EXPECT_EQ(text("b", Type::String), "log.parquet: column b: expected string, got double");
}

TEST(ValueVectors, StartNullsLate) {
  ValueVector<int32_t> values;
  values.push(1);
  EXPECT_TRUE(values.valid.empty());
  values.push_optional(std::nullopt);
  values.push_optional(3);
  EXPECT_EQ(values.values, (std::vector<int32_t>{1, 0, 3}));
  EXPECT_EQ(values.valid, (std::vector<uint8_t>{1, 0, 1}));
}

}  // namespace
}  // namespace uniscale::table
