#include "bundle/fresh_items.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "base/temporary_folder_test.h"
#include "bundle/item_log.h"

namespace uniscale::bundle {
namespace {

using ::testing::HasSubstr;

ItemChange set(const std::string& id, std::vector<std::pair<std::string, FreshValue>> values) {
  return {.id = id, .row = FreshRow{std::move(values)}};
}

double price_of(const FreshItems& items, const std::string& id) {
  const FreshRow* row = items.find(id);
  if (row == nullptr) return -1;
  const auto value = row->value("price", schema::ValueType::Double);
  return !value ? -2 : value->is_null ? -3 : value->number;
}

TEST(FreshItems, AChangeSetsItsColumnsAndKeepsTheOthers) {
  FreshItemStore store;
  const auto before = store.state();
  store.apply({set("a", {{"price", 1.5}, {"title", std::string("hat")}}), set("b", {{"price", int64_t{2}}})});
  store.apply({set("a", {{"price", 3.5}}), set("a", {{"size", int64_t{4}}})});
  const auto now = store.state();
  EXPECT_EQ(now->size(), 2);
  EXPECT_EQ(price_of(*now, "a"), 3.5);
  EXPECT_EQ(price_of(*now, "b"), 2.0) << "an int serves as double";
  EXPECT_EQ(now->find("a")->value("title", schema::ValueType::String)->text, "hat");
  EXPECT_EQ(now->find("a")->value("size", schema::ValueType::Int)->integer, 4);
  EXPECT_FALSE(now->find("a")->value("colour", schema::ValueType::String).has_value());
  EXPECT_TRUE(now->find("a")->value("title", schema::ValueType::Double)->is_null) << "another type";
  EXPECT_EQ(before->find("a"), nullptr) << "a state never changes";
  store.apply({set("a", {{"price", std::monostate()}}), {.id = "b", .row = {}}, {.id = "c", .row = {}}});
  EXPECT_EQ(price_of(*store.state(), "a"), -3) << "known to be missing";
  EXPECT_EQ(store.state()->find("b"), nullptr);
  EXPECT_EQ(store.state()->size(), 1);
  EXPECT_EQ(store.size_after({set("a", {}), set("x", {}), {.id = "x", .row = {}}, set("y", {})}), 2);
}

TEST(FreshItems, EqualAPlainMapOnRandomChanges) {
  base::RandomStream random(7, 1);
  FreshItemStore store;
  std::map<std::string, double> twin;
  for (int round = 0; round < 300; ++round) {
    std::vector<ItemChange> changes;
    for (uint64_t i = 0; i < 1 + random.below(20); ++i) {
      const std::string id = fmt::format("i{}", random.below(500));
      if (random.below(4) == 0) {
        changes.push_back({.id = id, .row = {}});
        twin.erase(id);
      } else {
        const auto price = static_cast<double>(random.below(1000));
        changes.push_back(set(id, {{"price", price}}));
        twin[id] = price;
      }
    }
    const int64_t expected = store.size_after(changes);
    store.apply(changes);
    ASSERT_EQ(store.state()->size(), expected);
    ASSERT_EQ(store.state()->size(), static_cast<int64_t>(twin.size()));
  }
  for (int i = 0; i < 500; ++i) {
    const std::string id = fmt::format("i{}", i);
    ASSERT_EQ(price_of(*store.state(), id), twin.contains(id) ? twin[id] : -1);
  }
  std::vector<std::string> ids;
  for (int i = 0; i < 600; ++i) ids.push_back(fmt::format("i{}", i));
  std::vector<const FreshRow*> rows(ids.size());
  store.state()->find_all(ids, rows);
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(rows[i], store.state()->find(ids[i]));
  EXPECT_EQ(store.state()->all().size(), twin.size());
  EXPECT_EQ(store.state()->all().front().id, twin.begin()->first);
}

TEST(ItemChanges, ReadBackAsWrittenAndErrorsNameThePlace) {
  const std::string text =
      R"([{"id":"a","features":{"e":[0.5,-2.0],"n":7,"price":1.25,"title":"häts","x":null}},{"id":"b","features":null}])";
  const auto changes = item_changes_from_json(json::parse(text, "t"), "t");
  ASSERT_EQ(changes.size(), 2U);
  const std::string_view bytes = changes[0].row->value("e", schema::ValueType::String)->text;
  ASSERT_EQ(bytes.size(), 8U);
  float second = 0;
  std::memcpy(&second, bytes.data() + 4, 4);
  EXPECT_EQ(second, -2.0F);
  EXPECT_FALSE(changes[1].row.has_value());
  EXPECT_EQ(json::dump(item_changes_to_json(changes), -1), text);
  const auto error_of = [](const std::string& list) {
    try {
      item_changes_from_json(json::parse(list, "t"), "items");
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error_of("{}"), HasSubstr("items: expected an array, got object"));
  EXPECT_THAT(error_of(R"([{"id":"a","features":{}},{"features":{}}])"), HasSubstr("items[1]: id"));
  EXPECT_THAT(error_of(R"([{"id":"a"}])"), HasSubstr("items[0]: features"));
  EXPECT_THAT(error_of(R"([{"id":"a","features":[]}])"),
              HasSubstr("items[0]: features: expected an object or null, got array"));
  EXPECT_THAT(error_of(R"([{"id":"a","features":{},"delete":true}])"),
              HasSubstr("items[0]: unknown member \"delete\" (expected id, features)"));
  EXPECT_THAT(
      error_of(R"([{"id":"a","features":{"x":true}}])"),
      HasSubstr(
          "items[0].features.x: expected a string, a number, an array of numbers or null, got boolean"));
  EXPECT_THAT(error_of(R"([{"id":"a","features":{"x":[1e300]}}])"),
              HasSubstr("items[0].features.x: expected numbers within the range of a float"));
  EXPECT_THAT(error_of(R"([{"id":"a","features":{"x":18446744073709551615}}])"),
              HasSubstr("items[0].features.x: integer above 2^63 − 1"));
}

class ItemLogTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path() + "/items.log"; }
  std::string content() const { return base::read_file(path()); }
  void put(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  // What a start finds.
  ItemLog::Replayed replay(FreshItemStore& store) const { return ItemLog(folder_.path(), store).replayed(); }
  base::TemporaryFolder folder_;
};

TEST_F(ItemLogTest, AStartFindsWhatWasAppended) {
  FreshItemStore store;
  {
    ItemLog log(folder_.path(), store);
    EXPECT_EQ(log.replayed().records, 0);
    log.append({set("a", {{"price", 1.5}, {"embedding", std::vector<float>{1.5F, 0.1F}}})});
    log.append({set("a", {{"title", std::string("hat")}}), set("b", {{"price", 2.0}})});
    log.append({{.id = "b", .row = {}}});
    EXPECT_EQ(log.bytes(), static_cast<int64_t>(content().size()));
  }
  FreshItemStore again;
  const ItemLog::Replayed replayed = replay(again);
  EXPECT_EQ(replayed.records, 3);
  EXPECT_EQ(replayed.changes, 4);
  EXPECT_EQ(replayed.torn_bytes, 0);
  EXPECT_EQ(json::dump(item_changes_to_json(again.state()->all()), -1),
            json::dump(item_changes_to_json(store.state()->all()), -1));
  EXPECT_EQ(again.state()->size(), 1);
}

TEST_F(ItemLogTest, ARecordCutAnywhereIsDroppedWholeAndTheNextFollows) {
  FreshItemStore store;
  size_t first_end = 0;
  {
    ItemLog log(folder_.path(), store);
    log.append({set("a", {{"price", 1.0}})});
    first_end = content().size();
    log.append({set("a", {{"price", 2.0}}), set("b", {{"price", 2.0}})});
  }
  const std::string whole = content();
  for (size_t size = first_end + 1; size < whole.size(); ++size) {
    put(whole.substr(0, size));
    FreshItemStore again;
    const auto replayed = replay(again);
    ASSERT_EQ(replayed.records, 1);
    ASSERT_EQ(replayed.torn_bytes, static_cast<int64_t>(size - first_end));
    ASSERT_EQ(replayed.damaged_records, 0);
    ASSERT_EQ(price_of(*again.state(), "a"), 1.0);
    ASSERT_EQ(again.state()->find("b"), nullptr);
    ASSERT_EQ(content().size(), first_end) << "cut off";
    FreshItemStore third;
    {
      ItemLog log(folder_.path(), third);
      log.append({set("c", {{"price", 3.0}})});
    }
    FreshItemStore fourth;
    ASSERT_EQ(replay(fourth).torn_bytes, 0);
    ASSERT_EQ(fourth.state()->size(), 2);
  }
}

TEST_F(ItemLogTest, ADamagedRecordCostsItselfAlone) {
  FreshItemStore store;
  std::vector<size_t> ends;
  {
    ItemLog log(folder_.path(), store);
    for (int i = 0; i < 5; ++i) {
      log.append({set(fmt::format("i{}", i), {{"price", double{1}}})});
      ends.push_back(content().size());
    }
  }
  std::string bad = content();
  bad[ends[1] + 5] ^= 1;   // the third record's length
  bad[ends[2] + 20] ^= 1;  // the fourth record's payload
  put(bad);
  FreshItemStore again;
  const auto replayed = replay(again);
  EXPECT_EQ(replayed.records, 3);
  EXPECT_EQ(replayed.damaged_records, 1) << "one stretch of bad bytes";
  for (const char* id : {"i0", "i1", "i4"}) EXPECT_EQ(price_of(*again.state(), id), 1.0);
  for (const char* id : {"i2", "i3"}) EXPECT_EQ(again.state()->find(id), nullptr);
  EXPECT_EQ(base::read_file(path() + ".damaged"), bad);
  FreshItemStore third;
  EXPECT_EQ(replay(third).damaged_records, 0) << "rewritten";
  EXPECT_EQ(third.state()->size(), 3);
}

TEST_F(ItemLogTest, EveryFlippedByteIsNoticedOrHarmless) {
  FreshItemStore store;
  {
    ItemLog log(folder_.path(), store);
    log.append({set("a", {{"price", 1.0}})});
    log.append({set("b", {{"price", 2.0}})});
  }
  const std::string whole = content();
  for (size_t at = 8; at < whole.size(); ++at) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x5a);
    put(bad);
    FreshItemStore again;
    const auto replayed = replay(again);
    ASSERT_EQ(replayed.records, 1) << at;
    ASSERT_TRUE(replayed.torn_bytes > 0 || replayed.damaged_records == 1) << at;
  }
}

TEST_F(ItemLogTest, ALongLogIsRewrittenWithWhatIsLeft) {
  FreshItemStore store;
  ItemLog log(folder_.path(), store, {.min_rewrite_bytes = 2000});
  int64_t longest = 0;
  for (int i = 0; i < 1000; ++i) {
    log.append({set(fmt::format("i{}", i % 10), {{"price", static_cast<double>(i)}})});
    longest = std::max(longest, log.bytes());
  }
  EXPECT_LT(longest, 8000);
  EXPECT_EQ(log.bytes(), static_cast<int64_t>(content().size()));
  EXPECT_EQ(price_of(*store.state(), "i9"), 999.0);
}

TEST_F(ItemLogTest, OtherFilesAndSecondWritersAreRefused) {
  const auto error_of = [&] {
    FreshItemStore store;
    try {
      ItemLog log(folder_.path(), store);
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  FreshItemStore store;
  {
    const ItemLog log(folder_.path(), store);
    EXPECT_THAT(error_of(),
                HasSubstr("another server has this items log open; each needs a folder of its own"));
  }
  put("something else");
  EXPECT_THAT(error_of(), HasSubstr("items.log: not an items log"));
  EXPECT_EQ(content(), "something else") << "left alone";
}

}  // namespace
}  // namespace uniscale::bundle
