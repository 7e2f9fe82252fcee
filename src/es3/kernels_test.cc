// The small parts of the kernels on their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "es3/detail/gather.h"
#include "es3/detail/id_index.h"
#include "es3/draft.h"
#include "es3/history.h"
#include "es3/native.h"
#include "es3/pack.h"

namespace uniscale::es3 {
namespace {

TEST(Es3IdIndex, NumbersFollowFirstAppearanceAndBytesDecide) {
  IdIndex index;
  EXPECT_EQ(index.find("a"), -1);
  EXPECT_EQ(index.insert("b"), 0);
  EXPECT_EQ(index.insert("a"), 1);
  EXPECT_EQ(index.insert("b"), 0);
  EXPECT_EQ(index.insert(std::string_view("a\0", 2)), 2);
  EXPECT_EQ(index.find("a"), 1);
  EXPECT_EQ(index.find("A"), -1);
}

TEST(Es3IdIndex, GrowsAndKeepsItsNumbers) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5000; ++i) ids.push_back("id" + std::to_string(i * 7919));
  IdIndex index;
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(index.insert(ids[static_cast<size_t>(i)]), i);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(index.find(ids[static_cast<size_t>(i)]), i);
  EXPECT_EQ(index.size(), 5000);
}

TEST(Es3History, AgeBucketIsFloorOfLog2) {
  EXPECT_EQ(age_bucket(1), 0);
  EXPECT_EQ(age_bucket(999), 0);
  EXPECT_EQ(age_bucket(1000), 1);
  EXPECT_EQ(age_bucket(2999), 1);
  EXPECT_EQ(age_bucket(3000), 2);
  for (int64_t seconds = 0; seconds < 100'000; seconds += 37) {
    ASSERT_EQ(age_bucket(seconds * 1000),
              static_cast<int>(std::floor(std::log2(1.0 + static_cast<double>(seconds)))))
        << seconds;
  }
  // 90 days.
  EXPECT_EQ(age_bucket(int64_t{90} * 86'400'000), 22);
}

TEST(Es3Unexposed, HalvesAreRoundedUp) {
  EXPECT_EQ(round_half_up(0.5), 1);
  EXPECT_EQ(round_half_up(1.49), 1);
  EXPECT_EQ(round_half_up(2.5), 3);
  EXPECT_EQ(round_half_up(0), 0);
}

TEST(Es3Unexposed, NumToDraw) {
  const Options options;
  EXPECT_EQ(num_to_draw(options, 10, 190), 20);
  EXPECT_EQ(num_to_draw(options, 10, 15), 15);
  EXPECT_EQ(num_to_draw(options, 80, 500), 100);
  EXPECT_EQ(num_to_draw(options, 0, 500), 0);
}

TEST(Es3Pack, RowGroupsEndByRequestsOrByItems) {
  Draft draft;
  draft.rows.resize(4);
  // 400k, 600k, 100k and 2M candidates; at most 2^20 in a group, but one request at least.
  draft.items[0].offsets = {0, 400'000, 1'000'000, 1'100'000, 3'100'000};
  for (size_t origin = 1; origin < draft.items.size(); ++origin) draft.items[origin].offsets.assign(5, 0);
  EXPECT_EQ(row_group_end(draft, 0, 8192), 2U);
  EXPECT_EQ(row_group_end(draft, 1, 8192), 3U);
  EXPECT_EQ(row_group_end(draft, 3, 8192), 4U);
  EXPECT_EQ(row_group_end(draft, 0, 1), 1U);
}

TEST(Es3Native, ABetterMatchIsTheLatestNotAfterTheLimit) {
  EXPECT_TRUE(is_better_match(100, 90, "u", 80, "u"));
  EXPECT_FALSE(is_better_match(100, 80, "u", 90, "u"));
  EXPECT_TRUE(is_better_match(100, 100, "u", 101, "u"));
  EXPECT_TRUE(is_better_match(100, 10, "u", 101, "u"));
  EXPECT_TRUE(is_better_match(100, 101, "u", 102, "u"));
  EXPECT_TRUE(is_better_match(100, 90, "a", 90, "b"));
  EXPECT_FALSE(is_better_match(100, 90, "b", 90, "a"));
}

table::Column strings(const std::vector<const char*>& values) {
  table::StringVector vector;
  for (const char* value : values) value == nullptr ? vector.push_null() : vector.push(value);
  return table::make_strings(std::move(vector));
}

TEST(Es3Gather, PicksRowsOfManySourcesAndNulls) {
  const table::Column first = strings({"a", nullptr, "c"});
  const table::Column second = strings({"d"});
  const std::vector<Ref> refs = {{0, 2}, {1, 0}, Ref::none(), {0, 1}, {2, 7}, {0, 0}};
  const table::Column got = gather(table::Type::String, {&first, &second, nullptr}, refs);
  ASSERT_EQ(got.length(), 6);
  EXPECT_EQ(got.string(0), "c");
  EXPECT_EQ(got.string(1), "d");
  EXPECT_FALSE(got.is_valid(2));
  EXPECT_FALSE(got.is_valid(3));
  EXPECT_FALSE(got.is_valid(4));
  EXPECT_EQ(got.string(5), "a");
}

TEST(Es3Gather, CodedStringsEqualGatheredOnes) {
  const table::Column first = strings({"a", nullptr, "c", "a"});
  const table::Column second = strings({"c"});
  const std::vector<Ref> refs = {{0, 2}, {1, 0}, Ref::none(), {0, 1}, {0, 3}, {0, 0}, {0, 2}};
  const DistinctRefs distinct = distinct_refs(refs);
  EXPECT_EQ(distinct.different.size(), 6U);
  EXPECT_EQ(distinct.number, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 0}));
  const std::vector<const table::Column*> sources = {&first, &second};
  const table::Column plain = gather(table::Type::String, sources, refs);
  const table::Column coded = gather_coded(sources, distinct);
  ASSERT_EQ(coded.length(), plain.length());
  for (int64_t i = 0; i < plain.length(); ++i) {
    EXPECT_EQ(coded.is_valid(i), plain.is_valid(i)) << i;
    EXPECT_EQ(coded.string(i), plain.string(i)) << i;
  }
  // "c", "c", "a", "a", "c": 5 bytes in all.
  EXPECT_NO_THROW(gather_coded(sources, distinct, 5));
  EXPECT_THROW(gather_coded(sources, distinct, 4), ColumnTooLarge);
}

TEST(Es3Gather, TakesRowsOfListsOfStructs) {
  std::vector<table::Column> fields;
  fields.push_back(strings({"a", "b", nullptr}));
  fields.push_back(table::make_int32s({1, 2, 3}));
  const table::Column list =
      table::make_list({0, 2, 2, 3}, table::make_struct({"id", "n"}, std::move(fields), 3), {1, 0, 1});
  const table::Column got = take(list, std::vector<int64_t>{2, 0, 0, 1});
  ASSERT_EQ(got.length(), 4);
  EXPECT_EQ(got.list_end(0) - got.list_begin(0), 1);
  EXPECT_FALSE(got.child(0).child(0).is_valid(got.list_begin(0)));
  EXPECT_EQ(got.child(0).child(0).string(got.list_begin(2) + 1), "b");
  EXPECT_EQ(got.child(0).child(1).int32s()[static_cast<size_t>(got.list_begin(1))], 1);
  EXPECT_TRUE(got.is_valid(0));
  EXPECT_FALSE(got.is_valid(3));
}

}  // namespace
}  // namespace uniscale::es3
