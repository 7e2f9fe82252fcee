#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "base/error_of_test.h"
#include "base/hash.h"
#include "feature/encode.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::feature {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

schema::LogSchema shop() {
  return schema::make_log_schema({.context = {{"device", "string"}},
                                  .candidate = {{"bm25", "double"}},
                                  .item = {{"brand", "string"}, {"price", "double"}, {"stock", "int"}},
                                  .user = {{"age", "int"}}});
}

FeatureSpec make_spec(std::vector<FeatureOptions> features, std::vector<TokenOptions> tokens = {}) {
  if (tokens.empty()) {
    tokens = {{.name = "r", .side = "request"}, {.name = "c", .side = "candidate"}};
    for (const FeatureOptions& f : features) {
      const bool request = f.source.starts_with("user") || f.source.starts_with("context") ||
                           f.source.starts_with("history") || f.source.starts_with("query") ||
                           f.source == "domain";
      tokens[request ? 0 : 1].features.push_back(f.name);
    }
    std::erase_if(tokens, [](const TokenOptions& t) { return t.features.empty(); });
  }
  return FeatureSpec(features, tokens, shop(), {"clicks"}, {"search", "feed"});
}

int32_t id(std::string_view value, int64_t rows) {
  return static_cast<int32_t>(1 + base::stable_hash(0, value) % static_cast<uint64_t>(rows - 1));
}

TEST(FeatureSpec, ResolvesSidesSlotsAndSharedTables) {
  const FeatureSpec spec =
      make_spec({{.name = "item", .source = "item_id", .table = "items", .buckets = 50, .dim = 8},
                 {.name = "clicked",
                  .kind = "sequence",
                  .source = "history.clicks.item_id",
                  .table = "items",
                  .buckets = 50,
                  .dim = 8},
                 {.name = "price", .kind = "numeric", .source = "item.price"}});
  EXPECT_EQ(spec.tables().size(), 1U);
  EXPECT_EQ(spec.num_id_slots(), 2);
  EXPECT_EQ(spec.num_float_slots(), 1);
  EXPECT_EQ(spec.features()[1].side, Side::Request);
  EXPECT_EQ(spec.token_input_dim(0), 8);
  EXPECT_EQ(spec.token_input_dim(1), 8 + 2);
  EXPECT_EQ(spec.domain_index("feed"), 1);
  EXPECT_EQ(spec.domain_index("ads"), -1);
}

TEST(FeatureSpec, ReportsAllProblemsAtOnce) {
  try {
    make_spec({{.name = "a", .source = "item.colour"},
               {.name = "b", .source = "items.price"},
               {.name = "c", .kind = "numeric", .source = "item.brand"},
               {.name = "d", .source = "item.price"},
               {.name = "e", .kind = "sequence", .source = "item.brand"},
               {.name = "f", .kind = "numeric", .source = "item.price", .transform = "bucketise"}});
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_THAT(
        error.what(),
        testing::AllOf(
            HasSubstr("[schema].item declares no column \"colour\" (it declares: brand, price, stock)"),
            HasSubstr("feature \"b\": source \"items.price\": unknown source"),
            HasSubstr("feature \"c\": kind = \"numeric\" needs a column of type double or int"),
            HasSubstr("feature \"d\": a double cannot be categorical"),
            HasSubstr("feature \"e\": only a history can have kind = \"sequence\""),
            HasSubstr("feature \"f\": transform = \"bucketise\" needs boundaries")));
  }
}

TEST(FeatureSpec, LabelsAndPositionsAreNeverFeatures) {
  for (const char* source :
       {"candidate.position", "position", "origin", "items.click", "click", "purchase",
        "candidate.click_weight", "cart_delay_ms", "truth.click_prob", "click_prob", "query_score"}) {
    EXPECT_THAT([&] { make_spec({{.name = "x", .source = source}}); },
                ThrowsMessage<base::UserError>(HasSubstr("may never be a feature")))
        << source;
  }
}

TEST(FeatureSpec, TokensOwnEachFeatureOnceAndOnTheirSide) {
  const std::vector<FeatureOptions> features = {{.name = "i", .source = "item_id"},
                                                {.name = "q", .source = "query"}};
  EXPECT_THAT([&] { make_spec(features, {{.name = "t", .side = "candidate", .features = {"i", "q"}}}); },
              ThrowsMessage<base::UserError>(
                  HasSubstr("feature \"q\" is of the request, the token of the candidate")));
  EXPECT_THAT([&] { make_spec(features, {{.name = "t", .side = "candidate", .features = {"i", "i", "z"}}}); },
              ThrowsMessage<base::UserError>(testing::AllOf(
                  HasSubstr("already belongs to a token"), HasSubstr("no [[feature]] is called \"z\""),
                  HasSubstr("feature \"q\": it belongs to no token"))));
}

TEST(FeatureSpec, AHistoryThatTheCandidateAttendsStandsOnItsSide) {
  const FeatureOptions history = {.name = "h",
                                  .kind = "sequence",
                                  .source = "history.clicks.item_id",
                                  .sequence_pooling = "target",
                                  .target = "i"};
  const FeatureOptions item = {.name = "i", .source = "item_id"};
  const FeatureSpec spec =
      make_spec({history, item}, {{.name = "t", .side = "candidate", .features = {"h", "i"}}});
  const Feature& feature = spec.features()[0];
  EXPECT_EQ(feature.pooling, Pooling::Target);
  EXPECT_EQ(feature.target, 1);
  EXPECT_EQ(feature.side, Side::Request);
  EXPECT_EQ(feature.value_side(), Side::Candidate);
  const FeatureSpec again = FeatureSpec::from_json(spec.to_json(), "spec");
  EXPECT_EQ(again.fingerprint(), spec.fingerprint());
  EXPECT_EQ(again.features()[0].target, 1);
  EXPECT_EQ(again.features()[0].value_side(), Side::Candidate);

  const auto refuse = [&](auto change, const char* side = "candidate") {
    FeatureOptions changed = history;
    change(changed);
    return base::error_of(
        [&] { make_spec({changed, item}, {{.name = "t", .side = side, .features = {"h", "i"}}}); });
  };
  EXPECT_THAT(refuse([](FeatureOptions&) {}, "request"),
              HasSubstr("feature \"h\" is of the candidate, the token of the request"));
  EXPECT_THAT(refuse([](FeatureOptions& f) { f.target = ""; }),
              HasSubstr("feature \"h\": sequence_pooling = \"target\" and a target need each other"));
  EXPECT_THAT(refuse([](FeatureOptions& f) { f.sequence_pooling = "mean"; }),
              HasSubstr("feature \"h\": sequence_pooling = \"target\" and a target need each other"));
  EXPECT_THAT(refuse([](FeatureOptions& f) { f.target = "h"; }),
              HasSubstr("feature \"h\": target: expected a categorical feature of the candidate, got \"h\""));
  EXPECT_THAT(
      base::error_of([&] { make_spec({{.name = "i", .source = "item_id", .sequence_pooling = "self"}}); }),
      HasSubstr("feature \"i\": sequence_pooling needs kind = \"sequence\""));
  json::Value broken = spec.to_json();
  broken["features"][0]["target"] = "nothing";
  EXPECT_THAT(base::error_of([&] { FeatureSpec::from_json(broken, "spec"); }),
              HasSubstr("spec: feature \"h\": target: expected a categorical feature of the candidate"));
}

TEST(FeatureSpec, JsonRoundTripKeepsTheFingerprint) {
  FeatureSpec spec = make_spec(
      {{.name = "item", .source = "item_id"},
       {.name = "title", .kind = "text", .source = "item.title", .ngrams = {0, 3}},
       {.name = "price", .kind = "numeric", .source = "item.price", .transform = "log_standardise"},
       {.name = "stock",
        .kind = "numeric",
        .source = "item.stock",
        .transform = "bucketise",
        .boundaries = {0, 10}},
       {.name = "clicked", .kind = "sequence", .source = "history.clicks.item_id", .max_length = 7}});
  spec.set_statistics(spec.feature_index("price"), 1.25, 0.3);
  const FeatureSpec again = FeatureSpec::from_json(json::parse(json::dump(spec.to_json()), "t"), "t");
  EXPECT_EQ(again.fingerprint(), spec.fingerprint());
  EXPECT_EQ(again.features()[2].mean, 1.25);
  EXPECT_EQ(again.features()[4].max_length, 7);
}

TEST(FeatureSpec, HostileJsonIsRefused) {
  const json::Value good = make_spec({{.name = "item", .source = "item_id"}}).to_json();
  const auto broken = [&](const std::function<void(json::Value&)>& change) {
    json::Value value = good;
    change(value);
    EXPECT_THROW(FeatureSpec::from_json(value, "t"), base::UserError) << value.dump();
  };
  broken([](json::Value& v) { v["tables"][0]["rows"] = 1LL << 40; });
  broken([](json::Value& v) { v["tables"][0]["rows"] = -5; });
  broken([](json::Value& v) { v["tables"][0]["dim"] = 1 << 20; });
  broken([](json::Value& v) { v["features"][0]["dim"] = 3; });
  broken([](json::Value& v) { v["features"][0]["table"] = "other"; });
  broken([](json::Value& v) { v["features"][0]["kind"] = "magic"; });
  broken([](json::Value& v) { v["features"].push_back(v["features"][0]); });
  broken([](json::Value& v) { v["tokens"][0]["features"][0] = "nothing"; });
  broken([](json::Value& v) { v["tokens"][0]["side"] = "request"; });
  broken([](json::Value& v) { v["tokens"] = json::Value::array(); });
  broken([](json::Value& v) { v.erase("domains"); });
  broken([](json::Value& v) { v["features"] = "text"; });
  EXPECT_THROW(FeatureSpec::from_json(json::parse("[1]", "t"), "t"), base::UserError);
}

TEST(Encode, CategoricalHashesAndZeroIsMissing) {
  const FeatureSpec spec = make_spec({{.name = "b", .source = "item.brand", .buckets = 100},
                                      {.name = "s", .source = "item.stock", .buckets = 100}});
  RequestBatch batch;
  const std::vector<std::string_view> brands = {"acme", std::string_view(), ""};
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 3, .strings = brands}, batch);
  EXPECT_THAT(batch.ids[0].ids, ElementsAre(id("acme", 100), 0, id("", 100)));
  const std::vector<int64_t> stock = {-7, 0, 9007199254740993};
  const std::vector<uint8_t> valid = {1, 0, 1};
  encode(spec.features()[1], &spec.tables()[1], {.num_rows = 3, .ints = stock, .ints_valid = valid}, batch);
  EXPECT_THAT(batch.ids[1].ids, ElementsAre(id("-7", 100), 0, id("9007199254740993", 100)));
  EXPECT_TRUE(batch.ids[0].offsets.empty());
}

TEST(Encode, AnAbsentColumnIsMissingEverywhere) {
  const FeatureSpec spec = make_spec(
      {{.name = "b", .source = "item.brand"}, {.name = "p", .kind = "numeric", .source = "item.price"}});
  RequestBatch batch;
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 2}, batch);
  encode(spec.features()[1], nullptr, {.num_rows = 2}, batch);
  EXPECT_THAT(batch.ids[0].ids, ElementsAre(0, 0));
  EXPECT_THAT(batch.floats[0].values, ElementsAre(0.0F, 1.0F, 0.0F, 1.0F));
}

TEST(Encode, NumbersAreTransformedAndNonFiniteOnesMissing) {
  FeatureSpec spec =
      make_spec({{.name = "p", .kind = "numeric", .source = "item.price", .transform = "log_standardise"}});
  spec.set_statistics(0, 1.0, 0.5);
  RequestBatch batch;
  const std::vector<double> prices = {std::exp(2.0) - 1, std::nan(""),
                                      std::numeric_limits<double>::infinity(), -(std::exp(1.0) - 1)};
  encode(spec.features()[0], nullptr, {.num_rows = 4, .doubles = prices}, batch);
  EXPECT_NEAR(batch.floats[0].values[0], (2.0 - 1.0) / 0.5, 1e-6);
  EXPECT_EQ(batch.floats[0].values[3], 1.0F);
  EXPECT_EQ(batch.floats[0].values[5], 1.0F);
  EXPECT_NEAR(batch.floats[0].values[6], (-1.0 - 1.0) / 0.5, 1e-6);
}

TEST(Encode, BucketsCountTheBoundariesBelow) {
  const FeatureSpec spec = make_spec({{.name = "p",
                                       .kind = "numeric",
                                       .source = "item.price",
                                       .transform = "bucketise",
                                       .boundaries = {1, 2}}});
  EXPECT_EQ(spec.tables()[0].num_rows, 4);
  RequestBatch batch;
  const std::vector<double> prices = {0.5, 1.0, 1.5, 2.0, std::nan("")};
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 5, .doubles = prices}, batch);
  EXPECT_THAT(batch.ids[0].ids, ElementsAre(1, 2, 2, 3, 0));
}

TEST(Encode, SequencesKeepTheNewestOldestFirst) {
  const FeatureSpec spec = make_spec({{.name = "h",
                                       .kind = "sequence",
                                       .source = "history.clicks.item_id",
                                       .buckets = 100,
                                       .max_length = 2}});
  RequestBatch batch;
  const std::vector<std::string_view> items = {"a", "b", "c"};
  const std::vector<int32_t> offsets = {0, 3, 3};
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 2, .strings = items, .offsets = offsets}, batch);
  EXPECT_THAT(batch.ids[0].ids, ElementsAre(id("b", 100), id("c", 100)));
  EXPECT_THAT(batch.ids[0].offsets, ElementsAre(0, 2, 2));
}

TEST(Encode, VectorsAreCopiedOrMissingAsAWhole) {
  const FeatureSpec spec = make_spec({{.name = "e", .kind = "vector", .source = "item.embedding", .dim = 2}});
  EXPECT_EQ(spec.token_input_dim(0), 3) << "two values and whether they are missing";
  EXPECT_EQ(FeatureSpec::from_json(spec.to_json(), "spec").fingerprint(), spec.fingerprint());
  RequestBatch batch;
  const std::vector<double> values = {1, -2, 3, 4, std::nan(""), 5, 1e39};
  const std::vector<int32_t> offsets = {0, 2, 2, 3, 5, 7};
  encode(spec.features()[0], nullptr, {.num_rows = 5, .doubles = values, .offsets = offsets}, batch);
  EXPECT_EQ(batch.floats[0].width, 3);
  EXPECT_THAT(batch.floats[0].values, ElementsAre(1, -2, 0,   //
                                                  0, 0, 1,    // empty
                                                  0, 0, 1,    // too short
                                                  0, 0, 1,    // NaN
                                                  0, 0, 1));  // no finite float
  RequestBatch absent;
  encode(spec.features()[0], nullptr, {.num_rows = 1}, absent);
  EXPECT_THAT(absent.floats[0].values, ElementsAre(0, 0, 1));
}

TEST(FeatureSpec, EmbeddingsAreVectorsAndNothingElseIs) {
  const auto error_of = [](const FeatureOptions& options) {
    return base::error_of([&] { make_spec({options}); });
  };
  EXPECT_THAT(error_of({.name = "e", .source = "item.embedding"}),
              HasSubstr("an embedding needs kind = \"vector\""));
  EXPECT_THAT(error_of({.name = "e", .kind = "vector", .source = "item.price"}),
              HasSubstr("only item.embedding can have kind = \"vector\""));
}

TEST(Encode, TextIsNormalisedWordsThenNgramsUpToTheLimit) {
  const FeatureSpec spec = make_spec({{.name = "t",
                                       .kind = "text",
                                       .source = "item.title",
                                       .buckets = 1000,
                                       .max_length = 3,
                                       .ngrams = {0}}});
  RequestBatch batch;
  const std::vector<std::string_view> titles = {" Wool  COAT", std::string_view(), "a b c d"};
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 3, .strings = titles}, batch);
  EXPECT_THAT(batch.ids[0].ids,
              ElementsAre(id("wool", 1000), id("coat", 1000), id("a", 1000), id("b", 1000), id("c", 1000)));
  EXPECT_THAT(batch.ids[0].offsets, ElementsAre(0, 2, 2, 5));
}

TEST(Encode, TrigramsOfTheSameTextAreTheSame) {
  const FeatureSpec spec = make_spec({{.name = "t", .kind = "text", .source = "item.title", .ngrams = {3}}});
  RequestBatch a, b;
  const std::vector<std::string_view> one = {"cafe\u0301"}, two = {"CAFÉ"};
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 1, .strings = one}, a);
  encode(spec.features()[0], &spec.tables()[0], {.num_rows = 1, .strings = two}, b);
  EXPECT_EQ(a.ids[0].ids, b.ids[0].ids);
  EXPECT_EQ(a.ids[0].ids.size(), 4U);  // |ca caf afé fé|
}

TEST(CheckBatch, NamesTheFirstBrokenInvariant) {
  const FeatureSpec spec = make_spec({{.name = "b", .source = "item.brand", .buckets = 10}});
  RequestBatch batch;
  batch.num_requests = 1;
  batch.candidate_offsets = {0, 2};
  batch.domain = {0};
  batch.ids.resize(1);
  batch.ids[0].ids = {1, 2};
  EXPECT_NO_THROW(check_batch(batch, spec));
  batch.ids[0].ids = {1, 10};
  EXPECT_THAT([&] { check_batch(batch, spec); },
              ThrowsMessage<base::InternalError>(HasSubstr("id out of range")));
  batch.ids[0].ids = {1};
  EXPECT_THAT([&] { check_batch(batch, spec); },
              ThrowsMessage<base::InternalError>(HasSubstr("one id a row")));
  batch.ids[0].ids = {1, 2};
  batch.domain = {2};
  EXPECT_THAT([&] { check_batch(batch, spec); },
              ThrowsMessage<base::InternalError>(HasSubstr("domain out of range")));
}

}  // namespace
}  // namespace uniscale::feature
