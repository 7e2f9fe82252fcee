#include "runtime/raw_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of_test.h"
#include "runtime/planted_bundle_test.h"

namespace uniscale::runtime {
namespace {

using base::error_of;
using ::testing::HasSubstr;

std::string read_error(const std::string& text) {
  return error_of([&] { raw_request_from_json(json::parse(text, "body"), "search", "body"); });
}

TEST(AgeBucket, IsTheLogarithmOfOnePlusSeconds) {
  EXPECT_EQ(age_bucket(10'000, 10'000), 0);
  EXPECT_EQ(age_bucket(10'999, 10'000), 0);
  EXPECT_EQ(age_bucket(11'000, 10'000), 1);
  EXPECT_EQ(age_bucket(12'999, 10'000), 1);
  EXPECT_EQ(age_bucket(13'000, 10'000), 2);
  EXPECT_EQ(age_bucket(86'400'000, 0), 16);
  EXPECT_EQ(age_bucket(0, 5'000), 0);
  EXPECT_EQ(age_bucket(INT64_MAX, INT64_MIN), 54);
}

TEST(RawRequestJson, ReadsBackWhatItWrites) {
  const json::Value written = raw_request_to_json(planted::make_request(4));
  EXPECT_EQ(raw_request_to_json(raw_request_from_json(written, "search", "body")), written);
}

TEST(RawRequestJson, ErrorsNameTheKey) {
  EXPECT_THAT(read_error("[]"), HasSubstr("body: expected an object, got array"));
  EXPECT_THAT(read_error("{}"), HasSubstr("items"));
  EXPECT_THAT(read_error(R"({"items":{"ids":"i1"}})"), HasSubstr("items.ids: expected an array, got string"));
  EXPECT_THAT(read_error(R"({"items":{"ids":[1]}})"), HasSubstr("items.ids: expected strings, got number"));
  EXPECT_THAT(read_error(R"({"user":[],"items":{"ids":[]}})"),
              HasSubstr("user: expected an object, got array"));
  EXPECT_THAT(read_error(R"({"history":{},"items":{"ids":[]}})"),
              HasSubstr("history: expected an array, got object"));
  EXPECT_THAT(read_error(R"({"items":{"ids":["a"],"features":{"price":[[1]]}}})"),
              HasSubstr("items.features.price: expected a string, a number or null, got array"));
  EXPECT_THAT(read_error(R"({"context":{"device":18446744073709551615},"items":{"ids":[]}})"),
              HasSubstr("integer above 2^63"));
}

TEST(ToBatch, UnknownNamesAndTypesAreErrors) {
  const feature::FeatureSpec spec = planted::make_spec();
  const auto encode_error = [&](const RawRequest& request) {
    return error_of([&] {
      feature::RequestBatch batch;
      MissingReport missing;
      to_batch(request, spec, planted::make_sequences(), nullptr, nullptr, true, batch, missing);
    });
  };
  RawRequest request = planted::make_request(2);
  request.items["prize"] = {RawValue(), RawValue()};
  EXPECT_THAT(encode_error(request), HasSubstr("unknown feature \"prize\" (the model reads: price, title)"));
  request = planted::make_request(2);
  request.items["price"][1] = RawValue::of(std::string("cheap"));
  EXPECT_THAT(encode_error(request), HasSubstr("feature \"item.price\": expected double, got a string"));
  request = planted::make_request(2);
  request.items["price"].pop_back();
  EXPECT_NE(encode_error(request), "no error");
  request = planted::make_request(2);
  request.domain = "mars";
  EXPECT_NE(encode_error(request), "no error");
}

// The same column name under item and candidate: the whole source tells them apart, a bare name means both.
TEST(ToBatch, NamesThatStandOnBothSides) {
  schema::LogSchema schema;
  schema.item = {{"price", schema::ValueType::Double}};
  schema.candidate = {{"price", schema::ValueType::Double}};
  const feature::FeatureSpec spec({{.name = "list", .kind = "numeric", .source = "item.price"},
                                   {.name = "offer", .kind = "numeric", .source = "candidate.price"}},
                                  {{"price", "candidate", {"list", "offer"}}}, schema, {}, {"search"});
  const auto first_values = [&](RawRequest request) {
    request.domain = "search";
    request.item_ids = {"a"};
    keep_known(spec, request);
    feature::RequestBatch batch;
    MissingReport missing;
    to_batch(request, spec, {}, nullptr, nullptr, true, batch, missing);
    return std::pair(batch.floats[0].values[0], batch.floats[1].values[0]);
  };
  EXPECT_EQ(first_values(
                {.items = {{"item.price", {RawValue::of(2.0)}}, {"candidate.price", {RawValue::of(3.0)}}}}),
            std::pair(2.0F, 3.0F));
  EXPECT_EQ(first_values({.items = {{"price", {RawValue::of(4.0)}}}}), std::pair(4.0F, 4.0F));
  EXPECT_EQ(first_values({.items = {{"price", {RawValue::of(4.0)}}, {"item.price", {RawValue::of(5.0)}}}}),
            std::pair(5.0F, 4.0F));
}

TEST(ToBatch, TablesFillWhatTheRequestLeavesOutAndTheRequestWins) {
  planted::TemporaryFolder folder;
  const bundle::Bundle bundle = bundle::Bundle::open(planted::publish(folder.path(), "main", 1));
  const auto items = bundle::EntityTable::open(*bundle.file("items.table"));
  const auto users = bundle::EntityTable::open(*bundle.file("users.table"));
  const feature::FeatureSpec spec = planted::make_spec();
  const auto prices = [&](const RawRequest& request, MissingReport& missing) {
    feature::RequestBatch batch;
    to_batch(request, spec, planted::make_sequences(), &items, &users, true, batch, missing);
    return batch.floats[static_cast<size_t>(spec.features()[4].slot)].values;
  };
  RawRequest request;
  request.domain = "search";
  request.user_id = "stranger";
  request.item_ids = {"i2", "nobody", "i4"};
  MissingReport missing;
  EXPECT_THAT(prices(request, missing), ::testing::ElementsAre(1.0F, 0.0F, 0.0F, 1.0F, 2.0F, 0.0F));
  EXPECT_TRUE(missing.user);
  EXPECT_THAT(missing.items, ::testing::ElementsAre(1));
  request.user_id = "u1";
  request.items["price"] = {RawValue::of(7.0), RawValue::of(int64_t{8}), RawValue()};
  EXPECT_THAT(prices(request, missing), ::testing::ElementsAre(7.0F, 0.0F, 8.0F, 0.0F, 0.0F, 1.0F));
  EXPECT_FALSE(missing.user);
}

TEST(ToBatch, EmbeddingsComeFromTheItemTable) {
  planted::TemporaryFolder folder;
  const std::vector<float> vector = {0.5F, -2.0F};
  bundle::EntityTableWriter writer({{"embedding", schema::ValueType::String}});
  writer.add("a", {{.text = {reinterpret_cast<const char*>(vector.data()), 2 * sizeof(float)},
                    .number = 0,
                    .is_null = false}});
  writer.add("b", {{.text = {}, .number = 0}});
  writer.write(folder.path() + "/items.table");
  const auto items = bundle::EntityTable::open(folder.path() + "/items.table");
  const feature::FeatureSpec spec({{.name = "e", .kind = "vector", .source = "item.embedding", .dim = 2}},
                                  {{.name = "t", .side = "candidate", .features = {"e"}}},
                                  schema::make_log_schema({}), {}, {"search"});
  RawRequest request;
  request.domain = "search";
  request.item_ids = {"a", "b", "stranger"};
  feature::RequestBatch batch;
  MissingReport missing;
  to_batch(request, spec, {}, &items, nullptr, true, batch, missing);
  EXPECT_THAT(batch.floats[0].values,
              ::testing::ElementsAre(0.5F, -2.0F, 0.0F, 0.0F, 0.0F, 1.0F, 0.0F, 0.0F, 1.0F));
  request.items["embedding"] = {RawValue(), RawValue(), RawValue()};
  EXPECT_THAT(
      error_of([&] { to_batch(request, spec, {}, &items, nullptr, true, batch, missing); }),
      HasSubstr("items.features.embedding: expected none, embeddings come from the bundle's item table"));
}

}  // namespace
}  // namespace uniscale::runtime
