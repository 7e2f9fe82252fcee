#include "dataset/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "dataset/planted_samples_test.h"
#include "feature/encode.h"

namespace uniscale::dataset {
namespace {

using feature::RequestBatch;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

feature::FeatureSpec make_spec(std::vector<std::string> domains = {"search"}) {
  schema::SchemaOptions schema;
  schema.context = {{"device", "string"}};
  schema.item = {{"price", "double"}};
  const std::vector<feature::FeatureOptions> features = {
      {.name = "item",
       .kind = "categorical",
       .source = "item_id",
       .table = "item",
       .boundaries = {},
       .ngrams = {}},
      {.name = "device", .source = "context.device", .table = {}, .boundaries = {}},
      {.name = "price",
       .kind = "numeric",
       .source = "item.price",
       .table = {},
       .transform = "standardise",
       .boundaries = {}},
      {.name = "clicks",
       .kind = "sequence",
       .source = "history.clicks.item_id",
       .table = "item",
       .boundaries = {},
       .max_length = 2}};
  const std::vector<feature::TokenOptions> tokens = {
      {.name = "candidate", .side = "candidate", .features = {"item", "price"}},
      {.name = "request", .side = "request", .features = {"device", "clicks"}}};
  return {features, tokens, schema::make_log_schema(schema), {"clicks"}, std::move(domains)};
}

class SampleSetFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "dataset_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    options_.samples = folder_;
    options_.threads = 2;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // 3 days × 3 buckets × 3 row groups, 1 … 4 candidates a request, times interleaved over the buckets.
  // Ids fall with the bucket, so that ties of ts_ms are not already in order of buckets.
  void plant_many() {
    base::RandomStream random(5, 5);
    for (int d = 0; d < 3; ++d) {
      std::map<int, std::vector<table::Table>> buckets;
      const base::Day day = first_.plus(d);
      for (int b = 0; b < 3; ++b) {
        int64_t ts_ms = day.begin_ms() + b;
        for (int g = 0; g < 3; ++g) {
          std::vector<PlantedRequest> requests;
          for (int r = 0; r < 10; ++r) {
            ts_ms += static_cast<int64_t>(random.below(4));
            PlantedRequest request{.request_id = "r" + std::to_string(d) + std::to_string(2 - b) +
                                                 std::to_string(g * 10 + r + 10),
                                   .user_id = "u" + std::to_string(b),
                                   .ts_ms = ts_ms,
                                   .device = r % 2 == 0 ? "phone" : "desk",
                                   .clicks = {},
                                   .items = {}};
            for (uint64_t c = 0; c <= random.below(4); ++c) {
              request.items.push_back({.item_id = "i" + std::to_string(random.below(9)),
                                       .origin = static_cast<int8_t>(c % 2),
                                       .price = static_cast<double>(random.below(100))});
            }
            std::sort(request.items.begin(), request.items.end(),
                      [](const auto& x, const auto& y) { return x.origin < y.origin; });
            request.clicks.assign(random.below(4), "i1");
            requests.push_back(std::move(request));
          }
          all_.insert(all_.end(), requests.begin(), requests.end());
          buckets[b].push_back(planted_table(requests));
        }
      }
      plant_day(folder_, day, buckets);
    }
  }

  static std::vector<RequestBatch> drain(Reader& reader) {
    std::vector<RequestBatch> batches;
    for (RequestBatch batch; reader.next(batch);) batches.push_back(batch);
    return batches;
  }

  template <class Error = base::UserError>
  std::string error_of(const feature::FeatureSpec& spec, Options options, Cursor cursor = {}) {
    try {
      Reader reader(std::move(options), spec, cursor);
      drain(reader);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string file_of(const std::string& day, int bucket) const {
    return folder_ + "/samples/dt=" + day + "/bucket=00" + std::to_string(bucket) + "/part-000001.parquet";
  }

  std::string folder_;
  Options options_;
  base::Day first_ = *base::parse_day("2026-03-01");
  std::vector<PlantedRequest> all_;
};

void expect_same(const RequestBatch& a, const RequestBatch& b) {
  ASSERT_EQ(a.num_requests, b.num_requests);
  ASSERT_EQ(a.candidate_offsets, b.candidate_offsets);
  for (size_t s = 0; s < a.ids.size(); ++s) {
    ASSERT_EQ(a.ids[s].ids, b.ids[s].ids);
    ASSERT_EQ(a.ids[s].offsets, b.ids[s].offsets);
  }
  for (size_t s = 0; s < a.floats.size(); ++s) ASSERT_EQ(a.floats[s].values, b.floats[s].values);
  ASSERT_EQ(a.domain, b.domain);
  for (size_t t = 0; t < schema::kNumTasks; ++t) {
    ASSERT_EQ(a.tasks[t].label, b.tasks[t].label);
    ASSERT_EQ(a.tasks[t].weight, b.tasks[t].weight);
    ASSERT_EQ(a.tasks[t].source, b.tasks[t].source);
  }
  ASSERT_EQ(a.origin, b.origin);
  ASSERT_EQ(a.position, b.position);
  ASSERT_EQ(a.user_key, b.user_key);
  ASSERT_EQ(a.request_key, b.request_key);
  ASSERT_EQ(a.ts_ms, b.ts_ms);
}

std::vector<uint64_t> keys_of(const std::vector<RequestBatch>& batches) {
  std::vector<uint64_t> keys;
  for (const RequestBatch& batch : batches)
    keys.insert(keys.end(), batch.request_key.begin(), batch.request_key.end());
  return keys;
}

// Two requests, every value by hand.
TEST_F(SampleSetFolder, EveryColumnArrives) {
  PlantedRequest known{
      .request_id = "r1",
      .user_id = "u1",
      .ts_ms = first_.begin_ms() + 5,
      .device = "phone",
      .clicks = {"x", "a", "b"},
      .items = {{.item_id = "a", .origin = 0, .position = 2, .source = {1, 0, 2}, .weight = 0.5F, .price = 3},
                {.item_id = "b",
                 .origin = 2,
                 .position = -1,
                 .source = {5, 0, 0},
                 .weight = 0.25F,
                 .price = kNan}}};
  PlantedRequest unknown{.request_id = "r2",
                         .user_id = "",
                         .ts_ms = first_.begin_ms() + 9,
                         .device = "",
                         .clicks = {},
                         .items = {{.item_id = "c", .price = -1}}};
  plant_day(folder_, first_, {{0, {planted_table({known, unknown})}}});
  const auto spec = make_spec();
  Reader reader(options_, spec);
  RequestBatch batch;
  ASSERT_TRUE(reader.next(batch));
  feature::check_batch(batch, spec);
  EXPECT_EQ(batch.num_requests, 2);
  EXPECT_EQ(batch.candidate_offsets, (std::vector<int32_t>{0, 2, 3}));
  EXPECT_EQ(batch.ts_ms, (std::vector<int64_t>{known.ts_ms, unknown.ts_ms}));
  EXPECT_EQ(batch.domain, (std::vector<int32_t>{0, 0}));
  EXPECT_EQ(batch.position, (std::vector<int32_t>{2, -1, -1}));
  EXPECT_EQ(batch.origin, (std::vector<schema::Origin>{schema::Origin::Exposed, schema::Origin::CrossPositive,
                                                       schema::Origin::Exposed}));
  EXPECT_EQ(batch.tasks[0].label, (std::vector<uint8_t>{1, 1, 0}));
  EXPECT_EQ(batch.tasks[0].weight, (std::vector<float>{0.5F, 0.25F, 1}));
  EXPECT_EQ(batch.tasks[0].source,
            (std::vector<schema::LabelSource>{schema::LabelSource::Native, schema::LabelSource::Cross,
                                              schema::LabelSource::None}));
  EXPECT_EQ(batch.tasks[1].label, (std::vector<uint8_t>{0, 0, 0}));
  EXPECT_EQ(batch.tasks[2].label, (std::vector<uint8_t>{1, 0, 0}));
  EXPECT_EQ(batch.request_weight, (std::vector<float>{1, 1}));
  EXPECT_EQ(batch.request_key[0], base::stable_hash(0, "r1"));
  EXPECT_EQ(batch.user_key[0], base::stable_hash(0, "u1"));
  EXPECT_EQ(batch.user_key[1], batch.request_key[1]) << "an unknown user is a group of its own";
  const auto slot = [&](const char* name) {
    return static_cast<size_t>(spec.features()[static_cast<size_t>(spec.feature_index(name))].slot);
  };
  EXPECT_EQ(batch.floats[slot("price")].values, (std::vector<float>{3, 0, 0, 1, -1, 0}));
  const auto id = [](std::string_view text) {
    return static_cast<int32_t>(1 + base::stable_hash(0, text) % 99'999);
  };
  EXPECT_EQ(batch.ids[slot("item")].ids, (std::vector<int32_t>{id("a"), id("b"), id("c")}));
  EXPECT_EQ(batch.ids[slot("device")].ids, (std::vector<int32_t>{id("phone"), id("")}));
  EXPECT_EQ(batch.ids[slot("clicks")].ids, (std::vector<int32_t>{id("a"), id("b")})) << "the newest two";
  EXPECT_EQ(batch.ids[slot("clicks")].offsets, (std::vector<int32_t>{0, 2, 2}));
  EXPECT_FALSE(reader.next(batch));
  EXPECT_EQ(reader.cursor().epoch, 1);
  EXPECT_EQ(reader.cursor().row, 0);
  EXPECT_TRUE(reader.next(batch)) << "the next epoch";
}

TEST_F(SampleSetFolder, TimeOrderIsThatOfASortOverAllBuckets) {
  plant_many();
  std::sort(all_.begin(), all_.end(), [](const auto& x, const auto& y) {
    return std::tie(x.ts_ms, x.request_id) < std::tie(y.ts_ms, y.request_id);
  });
  std::vector<uint64_t> expected;
  for (const PlantedRequest& request : all_) expected.push_back(base::stable_hash(0, request.request_id));
  const auto spec = make_spec();
  for (int64_t threads : {1, 4}) {
    options_.threads = threads;
    Reader reader(options_, spec);
    EXPECT_EQ(keys_of(drain(reader)), expected);
  }
}

TEST_F(SampleSetFolder, BatchesHoldWholeRequestsUpToTheLimit) {
  plant_many();
  const auto spec = make_spec();
  options_.batch_candidates = 10;
  Reader reader(options_, spec);
  const auto batches = drain(reader);
  int64_t requests = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    feature::check_batch(batches[i], spec);
    EXPECT_LE(batches[i].num_candidates(), 10);
    if (i + 1 < batches.size()) {
      EXPECT_GT(batches[i].num_candidates() + batches[i + 1].candidate_offsets[1], 10)
          << "could hold one more";
    }
    requests += batches[i].num_requests;
  }
  EXPECT_EQ(requests, 270);
  options_.batch_candidates = 1;
  Reader one(options_, spec);
  EXPECT_EQ(drain(one).size(), 270U) << "a larger request comes alone";
}

TEST_F(SampleSetFolder, AShuffleIsAPermutationThatDependsOnSeedAndEpochOnly) {
  plant_many();
  const auto spec = make_spec();
  options_.order = "shuffled";
  Reader reader(options_, spec);
  const auto first = keys_of(drain(reader)), second = keys_of(drain(reader));
  EXPECT_NE(first, second) << "anew each epoch";
  EXPECT_EQ(std::set<uint64_t>(first.begin(), first.end()).size(), 270U);
  EXPECT_EQ(first.size(), 270U);
  EXPECT_EQ(std::set<uint64_t>(first.begin(), first.end()), std::set<uint64_t>(second.begin(), second.end()));
  options_.threads = 1;
  Reader again(options_, spec);
  EXPECT_EQ(keys_of(drain(again)), first);
  options_.seed = 2;
  Reader other(options_, spec);
  EXPECT_NE(keys_of(drain(other)), first);
}

// From any cursor the batches that follow are those of an uninterrupted run, bit for bit.
TEST_F(SampleSetFolder, ResumesExactlyAtEveryCursor) {
  plant_many();
  const auto spec = make_spec();
  options_.batch_candidates = 40;
  options_.origins = {"exposed"};
  for (const char* order : {"time", "shuffled"}) {
    options_.order = order;
    Reader whole(options_, spec);
    std::vector<Cursor> cursors;
    std::vector<RequestBatch> batches;
    RequestBatch batch;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (;;) {
        const Cursor at = whole.cursor();
        if (!whole.next(batch)) break;
        cursors.push_back(at);
        batches.push_back(batch);
      }
    }
    ASSERT_GT(batches.size(), 12U);
    for (size_t i = 0; i < batches.size(); ++i) {
      Reader resumed(options_, spec, Cursor::from_json(cursors[i].to_json(), "cursor"));
      for (size_t j = i; j < std::min(i + 3, batches.size()); ++j) {
        if (!resumed.next(batch)) {
          ASSERT_TRUE(resumed.next(batch));
        }
        expect_same(batch, batches[j]);
      }
    }
    // At the very end of an epoch there is nothing left of it.
    Reader at_end(options_, spec, {.epoch = 0, .row = 270});
    EXPECT_FALSE(at_end.next(batch));
    EXPECT_EQ(at_end.cursor().epoch, 1);
  }
}

TEST_F(SampleSetFolder, ACursorBeyondTheEndIsRefused) {
  plant_many();
  for (const char* order : {"time", "shuffled"}) {
    options_.order = order;
    EXPECT_EQ(error_of(make_spec(), options_, {.epoch = 0, .row = 271}),
              folder_ + ": the cursor stands at request 271, but there are fewer");
  }
  try {
    Cursor::from_json({{"epoch", -1}, {"row", 0}}, "state.json");
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_STREQ(error.what(), "state.json: cursor: expected numbers ≥ 0");
  }
}

TEST_F(SampleSetFolder, FiltersLeaveOutCandidatesRequestsAndLabels) {
  PlantedRequest mixed{.request_id = "r1",
                       .user_id = "u",
                       .ts_ms = first_.begin_ms(),
                       .device = "",
                       .clicks = {},
                       .items = {{.item_id = "a", .origin = 0, .source = {1, 0, 0}},
                                 {.item_id = "b", .origin = 1, .source = {0, 0, 0}},
                                 {.item_id = "c", .origin = 2, .source = {5, 0, 0}, .weight = 0.5F},
                                 {.item_id = "d", .origin = 3}}};
  PlantedRequest unexposed_only = mixed;
  unexposed_only.request_id = "r2";
  unexposed_only.ts_ms += 1;
  unexposed_only.items = {{.item_id = "b", .origin = 1}};
  PlantedRequest elsewhere = mixed;
  elsewhere.request_id = "r3";
  elsewhere.ts_ms += 2;
  elsewhere.domain = "home";
  plant_day(folder_, first_, {{0, {planted_table({mixed, unexposed_only, elsewhere})}}});
  const auto spec = make_spec({"search", "home"});
  const auto read = [&](const Options& options) {
    Reader reader(options, spec);
    RequestBatch batch;
    reader.next(batch);
    feature::check_batch(batch, spec);
    return batch;
  };
  Options options = options_;
  EXPECT_EQ(read(options).candidate_offsets, (std::vector<int32_t>{0, 4, 5, 9}));
  EXPECT_EQ(read(options).domain, (std::vector<int32_t>{0, 0, 1}));
  options.origins = {"exposed", "cross_positive"};
  RequestBatch batch = read(options);
  EXPECT_EQ(batch.candidate_offsets, (std::vector<int32_t>{0, 2, 4}))
      << "a request without candidates is left out";
  EXPECT_EQ(batch.tasks[0].label, (std::vector<uint8_t>{1, 1, 1, 1}));
  options.label_sources = {"native"};
  batch = read(options);
  EXPECT_EQ(batch.tasks[0].label, (std::vector<uint8_t>{1, 0, 1, 0}));
  EXPECT_EQ(batch.tasks[0].weight, (std::vector<float>{1, 1, 1, 1})) << "no weight without its label";
  EXPECT_EQ(batch.tasks[0].source[1], schema::LabelSource::None);
  options.domains = {"home"};
  EXPECT_EQ(read(options).request_key, std::vector<uint64_t>{base::stable_hash(0, "r3")});
  EXPECT_EQ(error_of(make_spec({"search"}), options_),
            file_of("2026-03-01", 0) +
                ": row 2: domain \"home\" is not one of the model's (search); leave it out "
                "with dataset.domains or dataset.origins");
  // Another domain's requests without a kept candidate ask nothing of the model.
  elsewhere.items = {{.item_id = "c", .origin = 2}};
  plant_day(folder_, first_, {{0, {planted_table({mixed, unexposed_only, elsewhere})}}});
  options = options_;
  options.origins = {"exposed"};
  const feature::FeatureSpec search_spec = make_spec({"search"});
  Reader search_only(options, search_spec);
  ASSERT_TRUE(search_only.next(batch));
  EXPECT_EQ(batch.domain, std::vector<int32_t>(batch.domain.size(), 0));
}

TEST_F(SampleSetFolder, DaysAreChosenAndMustBeThere) {
  plant_many();
  const auto spec = make_spec();
  options_.from = "2026-03-02";
  options_.to = "2026-03-02";
  Reader reader(options_, spec);
  EXPECT_EQ(keys_of(drain(reader)).size(), 90U);
  const SampleSet one = describe(options_);
  EXPECT_EQ(one.days, std::vector<base::Day>{first_.plus(1)});
  EXPECT_EQ(one.num_requests, 90);
  Options all = options_;
  all.from = all.to = "";
  EXPECT_EQ(describe(all).num_requests, 270);
  EXPECT_NE(describe(all).fingerprint, one.fingerprint);
  options_.to = "2026-03-09";
  EXPECT_EQ(error_of<base::NotReadyError>(spec, options_),
            folder_ + ": day 2026-03-09 (dataset.to) was not built");
  options_.to = "soon";
  EXPECT_EQ(error_of(spec, options_), "dataset.to: expected a day like \"2026-03-01\", got \"soon\"");
  options_.from = "2026-03-03";
  options_.to = "2026-03-01";
  EXPECT_NE(error_of(spec, options_), "no error");
  std::filesystem::remove(folder_ + "/manifests/dt=2026-03-02.json");
  EXPECT_EQ(error_of<base::NotReadyError>(spec, all), folder_ + ": day 2026-03-02 is missing");
}

TEST_F(SampleSetFolder, WhatIsNoSampleSetIsNamed) {
  const auto spec = make_spec();
  EXPECT_EQ(error_of(spec, options_), folder_ + ": no sample set here (expected manifests/dt=….json)");
  options_.samples = "";
  EXPECT_EQ(error_of(spec, options_), "dataset.samples: expected the folder of a sample set, got nothing");
}

TEST_F(SampleSetFolder, MissingColumnsAreNamedWithTheirFile) {
  const PlantedRequest request{.request_id = "r",
                               .user_id = "u",
                               .ts_ms = first_.begin_ms(),
                               .device = "",
                               .clicks = {},
                               .items = {{.item_id = "a"}}};
  for (const auto& [without, column] :
       std::map<std::string, std::string>{{"context", "context.device"},
                                          {"history_clicks", "history_clicks.item_id"},
                                          {"items.item", "items.item.price"}}) {
    std::filesystem::remove_all(folder_);
    plant_day(folder_, first_, {{0, {planted_table({request}, without)}}});
    EXPECT_EQ(error_of(make_spec(), options_), file_of("2026-03-01", 0) + ": column " + column +
                                                   ": missing; the samples were built without it");
  }
}

TEST_F(SampleSetFolder, UnsortedFilesAndUnknownValuesAreNamed) {
  PlantedRequest late{.request_id = "r1",
                      .user_id = "u",
                      .ts_ms = first_.begin_ms() + 9,
                      .device = "",
                      .clicks = {},
                      .items = {{.item_id = "a"}}};
  PlantedRequest early = late;
  early.ts_ms -= 5;
  plant_day(folder_, first_, {{0, {planted_table({late, early})}}});
  EXPECT_EQ(error_of(make_spec(), options_), file_of("2026-03-01", 0) + ": rows are not sorted by ts_ms");
  std::filesystem::remove_all(folder_);
  plant_day(folder_, first_, {{0, {planted_table({late}), planted_table({early})}}});
  EXPECT_EQ(error_of(make_spec(), options_), file_of("2026-03-01", 0) + ": rows are not sorted by ts_ms");
  for (int8_t wrong : {int8_t{4}, int8_t{-1}}) {
    std::filesystem::remove_all(folder_);
    late.items[0].origin = wrong;
    plant_day(folder_, first_, {{0, {planted_table({late})}}});
    EXPECT_EQ(error_of(make_spec(), options_),
              file_of("2026-03-01", 0) + ": column items.origin: unknown value " + std::to_string(wrong));
  }
  std::filesystem::remove_all(folder_);
  late.items[0].origin = 0;
  late.items[0].source[1] = 6;
  plant_day(folder_, first_, {{0, {planted_table({late})}}});
  EXPECT_EQ(error_of(make_spec(), options_),
            file_of("2026-03-01", 0) + ": column items.cart_source: unknown value 6");
}

TEST_F(SampleSetFolder, ATruncatedFileIsAnErrorInEitherOrder) {
  plant_many();
  const std::string path = file_of("2026-03-02", 1);
  std::filesystem::resize_file(path, 700);
  for (const char* order : {"time", "shuffled"}) {
    options_.order = order;
    EXPECT_TRUE(error_of(make_spec(), options_).starts_with(path + ": not a readable Parquet file"));
  }
}

// The footer stands but a page does not: seen only while row groups are decoded, in the middle of a window.
TEST_F(SampleSetFolder, ADamagedPageIsAnErrorInEitherOrder) {
  plant_many();
  const std::string path = file_of("2026-03-02", 1);
  FILE* file = std::fopen(path.c_str(), "r+b");
  const std::string garbage(300, '\xff');
  std::fseek(file, 4, SEEK_SET);
  ASSERT_EQ(std::fwrite(garbage.data(), 1, garbage.size(), file), garbage.size());
  std::fclose(file);
  for (const char* order : {"time", "shuffled"}) {
    options_.order = order;
    const std::string text = error_of(make_spec(), options_);
    EXPECT_TRUE(text.starts_with(path + ": ")) << text;
  }
}

TEST_F(SampleSetFolder, StatisticsAreThoseOfTheFirstRequestsInTime) {
  std::vector<PlantedRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back({.request_id = "r" + std::to_string(i),
                        .user_id = "u",
                        .ts_ms = first_.begin_ms() + i,
                        .device = "",
                        .clicks = {},
                        .items = {{.item_id = "a", .price = 2.0 * i + 1}, {.item_id = "b", .price = kNan}}});
  }
  plant_day(folder_, first_, {{0, {planted_table(requests)}}});
  auto spec = make_spec();
  const auto& price = spec.features()[static_cast<size_t>(spec.feature_index("price"))];
  options_.order = "shuffled";
  fit_statistics(options_, spec, 1000);  // 1 3 5 7
  EXPECT_DOUBLE_EQ(price.mean, 4.0);
  EXPECT_DOUBLE_EQ(price.inverse_stddev, 1 / std::sqrt(5.0));
  fit_statistics(options_, spec, 2);  // 1 3, whatever was fitted before
  EXPECT_DOUBLE_EQ(price.mean, 2.0);
  EXPECT_DOUBLE_EQ(price.inverse_stddev, 1.0);
}

feature::FeatureSpec vector_spec(int64_t dim) {
  const std::vector<feature::FeatureOptions> features = {{.name = "content",
                                                          .kind = "vector",
                                                          .source = "item.embedding",
                                                          .table = {},
                                                          .dim = dim,
                                                          .boundaries = {},
                                                          .ngrams = {}}};
  const std::vector<feature::TokenOptions> tokens = {
      {.name = "candidate", .side = "candidate", .features = {"content"}}};
  return {features, tokens, schema::make_log_schema({}), {}, {"search"}};
}

TEST_F(SampleSetFolder, EmbeddingsAreReadAsVectorsWithAFlagOfMissing) {
  plant_day(folder_, first_,
            {{0,
              {planted_table({{.request_id = "r",
                               .user_id = "u",
                               .ts_ms = first_.begin_ms(),
                               .clicks = {},
                               .items = {{.item_id = "a", .embedding = {0.5F, -1.0F}},
                                         {.item_id = "b", .embedding = {}},
                                         {.item_id = "c", .embedding = {2.0F, std::nanf("")}}}}})}}});
  const feature::FeatureSpec spec = vector_spec(2);
  Reader reader(options_, spec);
  RequestBatch batch;
  ASSERT_TRUE(reader.next(batch));
  EXPECT_EQ(batch.floats[0].width, 3);
  EXPECT_EQ(batch.floats[0].values, (std::vector<float>{0.5F, -1.0F, 0, 0, 0, 1, 0, 0, 1}));
  EXPECT_NE(error_of(vector_spec(3), options_)
                .find("column items.item.embedding: row 0: feature \"content\": expected vectors of dim = 3 "
                      "values, got 2"),
            std::string::npos)
      << error_of(vector_spec(3), options_);
}

TEST_F(SampleSetFolder, SamplesWithoutEmbeddingsNameTheColumn) {
  plant_many();
  EXPECT_NE(error_of(vector_spec(2), options_)
                .find("column items.item.embedding: missing; the samples were built without it"),
            std::string::npos)
      << error_of(vector_spec(2), options_);
}

TEST_F(SampleSetFolder, ItemKeysFollowTheCandidatesThatAreKept) {
  plant_many();
  options_.origins = {"exposed"};
  options_.item_keys = true;
  const feature::FeatureSpec spec = make_spec();
  Reader reader(options_, spec);
  std::vector<uint64_t> got, expected;
  for (const RequestBatch& batch : drain(reader))
    got.insert(got.end(), batch.item_key.begin(), batch.item_key.end());
  for (const PlantedRequest& request : all_) {
    for (const PlantedItem& item : request.items) {
      if (item.origin == 0) expected.push_back(base::stable_hash(0, item.item_id));
    }
  }
  std::sort(got.begin(), got.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace uniscale::dataset
