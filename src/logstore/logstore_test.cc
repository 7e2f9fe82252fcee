#include "logstore/logstore.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/threads.h"
#include "table/parquet.h"

namespace uniscale::logstore {
namespace {

using table::Type;

schema::SchemaOptions options() {
  schema::SchemaOptions options;
  options.num_buckets = 4;
  options.context = {{"device", "string"}};
  options.candidate = {{"discount", "double"}};
  options.item = {{"price", "double"}, {"stock", "int"}};
  options.user = {{"age", "int"}};
  return options;
}

class LogStoreFolder : public testing::Test {
 protected:
  void SetUp() override {
    store_ = testing::TempDir() + "logstore_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(store_);
  }
  void TearDown() override { std::filesystem::remove_all(store_); }

  template <class Error = base::UserError, class Call>
  static std::string error_of(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  table::Table one_request(std::string_view id) {
    RequestsBuilder builder(schema_);
    builder.begin(id, "search", "u", 5, "shoes", {});
    builder.candidate({.item_id = "i", .position = 0, .score = std::nullopt, .features = {}});
    return builder.finish();
  }

  std::string store_;
  schema::LogSchema schema_ = schema::make_log_schema(options());
  base::Day day_ = *base::parse_day("2026-03-01");
};

std::vector<std::string> names_of(const table::Table& table) {
  std::vector<std::string> names;
  for (int i = 0; i < table.num_columns(); ++i) names.push_back(table.name(i));
  return names;
}

std::vector<std::string> children_of(const table::Column& column) {
  std::vector<std::string> names;
  for (int i = 0; i < column.num_children(); ++i) names.push_back(column.child_name(i));
  return names;
}

TEST_F(LogStoreFolder, RequestsHaveTheDocumentedColumns) {
  RequestsBuilder builder(schema_);
  builder.begin("r1", "search", {}, 7, {}, {FeatureValue::of(std::string_view("phone"))});
  builder.begin("r2", "home", "u1", 8, "", {});
  builder.candidate({.item_id = "a", .position = 3, .score = 0.5F, .features = {FeatureValue::of(0.25)}});
  builder.candidate({.item_id = "b", .position = std::nullopt, .score = std::nullopt, .features = {}});
  EXPECT_EQ(builder.num_rows(), 2);
  EXPECT_EQ(builder.num_candidates(), 2);
  const table::Table out = builder.finish();
  EXPECT_EQ(builder.num_rows(), 0);
  EXPECT_EQ(names_of(out), (std::vector<std::string>{"request_id", "domain", "user_id", "ts_ms", "query",
                                                     "context", "candidates"}));
  EXPECT_FALSE(out.find("user_id")->is_valid(0));
  EXPECT_FALSE(out.find("query")->is_valid(0));
  EXPECT_TRUE(out.find("query")->is_valid(1)) << "an empty query is not a missing one";
  EXPECT_EQ(out.require("ts_ms", Type::Int64, "").int64s()[1], 8);
  EXPECT_EQ(out.find("context")->find_child("device")->string(0), "phone");
  EXPECT_FALSE(out.find("context")->find_child("device")->is_valid(1));
  const table::Column& list = out.require("candidates", Type::List, "");
  EXPECT_EQ(list.list_end(0), 0);
  EXPECT_EQ(list.list_end(1), 2);
  const table::Column& candidate = list.child(0);
  EXPECT_EQ(children_of(candidate), (std::vector<std::string>{"item_id", "position", "score", "discount"}));
  EXPECT_EQ(candidate.find_child("item_id")->string(1), "b");
  EXPECT_EQ(candidate.find_child("position")->int32s()[0], 3);
  EXPECT_FALSE(candidate.find_child("position")->is_valid(1));
  EXPECT_EQ(candidate.find_child("score")->floats()[0], 0.5F);
  EXPECT_EQ(candidate.find_child("discount")->doubles()[0], 0.25);
  EXPECT_FALSE(candidate.find_child("discount")->is_valid(1));
}

TEST_F(LogStoreFolder, WithoutDeclaredContextThereIsNoContextColumn) {
  schema::SchemaOptions bare;
  RequestsBuilder builder(schema::make_log_schema(bare));
  builder.begin("r", "search", "u", 1, "q", {});
  EXPECT_EQ(names_of(builder.finish()),
            (std::vector<std::string>{"request_id", "domain", "user_id", "ts_ms", "query", "candidates"}));
}

TEST_F(LogStoreFolder, EventsHaveTheDocumentedColumns) {
  EventsBuilder builder;
  builder.push({.event_id = "e",
                .domain = "home",
                .action = "purchase",
                .user_id = {},
                .item_id = "i",
                .ts_ms = 4,
                .known_ms = 9,
                .request_id = {},
                .position = 2,
                .value = 1.5,
                .quantity = {}});
  const table::Table out = builder.finish();
  EXPECT_EQ(names_of(out),
            (std::vector<std::string>{"event_id", "domain", "action", "user_id", "item_id", "ts_ms",
                                      "known_ms", "request_id", "position", "value", "quantity"}));
  EXPECT_FALSE(out.find("user_id")->is_valid(0));
  EXPECT_FALSE(out.find("request_id")->is_valid(0));
  EXPECT_EQ(out.find("known_ms")->int64s()[0], 9);
  EXPECT_EQ(out.find("position")->int32s()[0], 2);
  EXPECT_EQ(out.find("value")->doubles()[0], 1.5);
  EXPECT_FALSE(out.find("quantity")->is_valid(0));
}

TEST_F(LogStoreFolder, ItemsAndUsersHaveTheDocumentedColumns) {
  ItemsBuilder items(schema_);
  items.push({.item_id = "a",
              .ts_ms = kEver,
              .title = "Coat",
              .category = {},
              .features = {FeatureValue::of(9.5), FeatureValue::of(int64_t{1} << 60)},
              .embedding = {}});
  items.push(
      {.item_id = "b", .ts_ms = 3, .title = {}, .category = "X/Y", .features = {}, .embedding = {1, 2}});
  const table::Table out = items.finish();
  EXPECT_EQ(names_of(out), (std::vector<std::string>{"item_id", "ts_ms", "title", "category", "price",
                                                     "stock", "embedding"}));
  EXPECT_EQ(out.find("ts_ms")->int64s()[0], std::numeric_limits<int64_t>::min());
  EXPECT_EQ(out.find("stock")->int64s()[0], int64_t{1} << 60) << "exact beyond 2^53";
  EXPECT_FALSE(out.find("embedding")->is_valid(0));
  EXPECT_EQ(out.find("embedding")->child(0).floats()[1], 2.0F);
  items.push({.item_id = "a", .features = {}, .embedding = {}});
  EXPECT_EQ(items.finish().find("embedding"), nullptr);
  UsersBuilder users(schema_);
  users.push("u", 1, {FeatureValue::of(int64_t{30})});
  EXPECT_EQ(names_of(users.finish()), (std::vector<std::string>{"user_id", "ts_ms", "age"}));
}

TEST_F(LogStoreFolder, AStoreKeepsItsSchema) {
  create_or_check_store(store_, schema_);
  create_or_check_store(store_, schema_);
  EXPECT_EQ(LogStore(store_).schema(), schema_);
}

TEST_F(LogStoreFolder, AnotherSchemaIsRefusedByItsFirstDifference) {
  create_or_check_store(store_, schema_);
  schema::SchemaOptions other = options();
  other.num_buckets = 8;
  EXPECT_EQ(error_of([&] { create_or_check_store(store_, schema::make_log_schema(other)); }),
            store_ +
                ": the log store was made with another schema: num_buckets: the store has 4, the "
                "configuration 8");
  other = options();
  other.item["price"] = "int";
  EXPECT_EQ(error_of([&] { create_or_check_store(store_, schema::make_log_schema(other)); }),
            store_ +
                ": the log store was made with another schema: item: the store has "
                R"({"price":"double","stock":"int"}, the configuration {"price":"int","stock":"int"})");
}

TEST_F(LogStoreFolder, WhatIsNoStoreIsNamed) {
  EXPECT_EQ(error_of([&] { LogStore store(store_); }),
            store_ + ": no log store here (expected " + store_ + "/manifests/store.json)");
  EXPECT_EQ(error_of([&] { create_or_check_store("", schema_); }), "the log store's folder is not set");
  create_or_check_store(store_, schema_);
  const std::string path = store_ + "/manifests/store.json", good = base::read_file(path);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    base::write_file_atomically(path, text.replace(at, from.size(), to));
    return error_of([&] { LogStore store(store_); });
  };
  const bool spaced = good.find("\"num_buckets\": 4") != std::string::npos;
  const std::string colon = spaced ? ": " : ":";
  EXPECT_EQ(with("\"num_buckets\"" + colon + "4", "\"num_buckets\":0"),
            path + ": num_buckets: expected 1 … 999, got 0");
  EXPECT_EQ(with("\"format_version\"" + colon + "1", "\"format_version\":2"),
            path + ": format_version: expected 1, got 2");
  EXPECT_EQ(with("\"price\"" + colon + "\"double\"", "\"price\":\"money\""),
            path + ": item.price: expected string, double or int");
  EXPECT_TRUE(with("{", "[").starts_with(path));
}

TEST_F(LogStoreFolder, ADayIsPublishedAtOnce) {
  create_or_check_store(store_, schema_);
  const LogStore store(store_);
  EXPECT_EQ(error_of<base::NotReadyError>([&] { store.requests_file(day_, 0); }),
            store_ + ": day 2026-03-01 was not published");
  EXPECT_EQ(error_of<base::NotReadyError>([&] { store.events_file(day_, 0); }),
            store_ + ": day 2026-03-01 was not published");
  EXPECT_EQ(error_of<base::NotReadyError>([&] { store.day_hash(day_); }),
            store_ + ": day 2026-03-01 was not published");
  DayWriter writer(store_, schema_, day_);
  base::parallel_for(3, 3, [&](int64_t bucket) {
    writer.write_bucket(static_cast<int>(bucket),
                        {one_request("r" + std::to_string(bucket)), one_request("s")}, {});
  });
  EXPECT_FALSE(store.has_day(day_));
  writer.publish({{"rows", 6}});
  ASSERT_TRUE(store.has_day(day_));
  EXPECT_EQ(store.days(), std::vector<base::Day>{day_});
  EXPECT_EQ(store.requests_file(day_, 1), store_ + "/requests/dt=2026-03-01/bucket=001/part-000001.parquet");
  EXPECT_FALSE(store.requests_file(day_, 3).has_value()) << "an empty bucket has no file";
  EXPECT_FALSE(store.events_file(day_, 1).has_value());
  const table::ParquetReader file(*store.requests_file(day_, 1));
  EXPECT_EQ(file.num_row_groups(), 2);
  EXPECT_EQ(file.read_row_group(0).find("request_id")->string(0), "r1");
}

TEST_F(LogStoreFolder, TheHashOfADayIsThatOfItsRows) {
  create_or_check_store(store_, schema_);
  const LogStore store(store_);
  const auto publish = [&](std::string_view id) {
    DayWriter writer(store_, schema_, day_);
    writer.write_bucket(2, {one_request(id)}, {});
    writer.publish({{"id", id}});
    return store.day_hash(day_);
  };
  const std::string first = publish("r");
  EXPECT_EQ(publish("r"), first) << "published again";
  EXPECT_NE(publish("s"), first);
}

TEST_F(LogStoreFolder, ABucketOutsideTheStoreIsAnInternalError) {
  create_or_check_store(store_, schema_);
  DayWriter writer(store_, schema_, day_);
  EXPECT_THROW(writer.write_bucket(4, {}, {}), base::InternalError);
}

TEST_F(LogStoreFolder, EntitiesAreReplacedAsAWhole) {
  create_or_check_store(store_, schema_);
  const LogStore store(store_);
  EXPECT_FALSE(store.items_file().has_value());
  EXPECT_FALSE(store.users_file(0).has_value());
  ItemsBuilder items(schema_);
  items.push({.item_id = "a", .features = {}, .embedding = {}});
  const table::Table plain = items.finish();
  items.push({.item_id = "b", .features = {}, .embedding = {0.5F}});
  // Only the second row group has embeddings: the first gets nulls.
  publish_items(store_, {plain, items.finish()}, json::Value::object());
  const table::ParquetReader file(*store.items_file());
  ASSERT_EQ(file.num_row_groups(), 2);
  EXPECT_FALSE(file.read_row_group(0).find("embedding")->is_valid(0));
  EXPECT_EQ(file.read_row_group(1).find("embedding")->child(0).floats()[0], 0.5F);
  UsersBuilder users(schema_);
  users.push("u", kEver, {});
  publish_users(store_, {{}, {users.finish()}}, json::Value::object());
  EXPECT_FALSE(store.users_file(0).has_value());
  EXPECT_EQ(store.users_file(1), store_ + "/users/bucket=001/part-000001.parquet");
  publish_users(store_, {}, json::Value::object());
  EXPECT_FALSE(store.users_file(1).has_value());
  EXPECT_FALSE(std::filesystem::exists(store_ + "/users/bucket=001/part-000001.parquet"));
}

}  // namespace
}  // namespace uniscale::logstore
