// What every baseline must pass, in every variant: shapes, derivatives, sharing, learning, counts.
#include <gmock/gmock.h>

#include <map>

#include "base/error.h"
#include "model/flop_counter_test.h"
#include "model/model_checks_test.h"
#include "model/registry.h"

namespace uniscale::model {
namespace {

using planted::make_token_spec;

struct Case {
  std::string name;
  std::string architecture;
  int64_t num_parameters;  // tiny preset on make_token_spec, by hand (docs/formats/weights-baselines.md)
  std::function<void(Options&)> change;
};

// Common to all: tokens 19·8 + 6·(8 + 64 + 8) = 632; heads 6·(5·z + 11); the trunk 12·in + 12 + 130.
constexpr int64_t kTokens = 632;
constexpr int64_t heads(int64_t z) { return 6 * (5 * z + 11); }
constexpr int64_t trunk(int64_t in) { return 12 * in + 142; }

std::vector<Case> cases() {
  // D 8, F 48, N rows of HiFormer 8; a token's FFN 8·16 + 16 + 16·8 + 8 = 280.
  return {
      {"dcnv2", "dcnv2", kTokens + 2 * (2 * 3 * 48 + 48) + trunk(48) + heads(10), [](Options&) {}},
      {"dcnv2_full_rank", "dcnv2", kTokens + 2 * (48 * 48 + 48) + trunk(48) + heads(10),
       [](Options& o) { o.cross_rank = 0; }},
      {"dcnv2_mixture", "dcnv2", kTokens + 2 * (2 * 2 * 3 * 48 + 2 * 9 + 2 * 48 + 48) + trunk(48) + heads(10),
       [](Options& o) { o.cross_experts = 2; }},
      {"wukong", "wukong",
       kTokens + (12 + 24 + 357 + 12 + 30 + 16) + (10 + 20 + 339 + 10 + 16) + trunk(40) + heads(10),
       [](Options&) {}},
      {"rankmixer", "rankmixer", kTokens + 4 * (8 * 12 + 8) + 2 * (2 * 16 + 4 * 280) + heads(8),
       [](Options&) {}},
      {"rankmixer_as_many_segments_as_tokens", "rankmixer", -1, [](Options& o) { o.token_dim = 12; }},
      {"hiformer", "hiformer",
       kTokens + 16 + (64 + 2 * 640 + 896 + 64 + 8 * 280) + (64 + 400 + 640 + 896 + 16 + 2 * 280) + heads(16),
       [](Options&) {}},
      {"hiformer_full_rank", "hiformer",
       kTokens + 16 + (64 + 3 * 4096 + 64 + 8 * 280) + (64 + 1024 + 2 * 4096 + 16 + 2 * 280) + heads(16),
       [](Options& o) { o.rank_qk = o.rank_v = 0; }},
      // No event goes on after the last layer: no O, norm and FFN of events there, 64 + 8 + 280.
      {"onetrans", "onetrans", kTokens + 112 + 8 + 2 * 7 * (8 + 192 + 64 + 8 + 280) - 352 + 48 + heads(48),
       [](Options&) {}},
      {"onetrans_three_layers", "onetrans",
       kTokens + 112 + 8 + 3 * 7 * (8 + 192 + 64 + 8 + 280) - 352 + 48 + heads(48),
       [](Options& o) { o.num_layers = 3; }}};
}

Options options_of(const Case& one) {
  Options options;
  options.architecture = one.architecture;
  options.preset = "tiny";
  one.change(options);
  return options;
}

class Zoo : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Model> make(at::ScalarType dtype) const {
    return make_model(options_of(GetParam()), spec_, dtype);
  }
  const feature::FeatureSpec spec_ = make_token_spec();
};

INSTANTIATE_TEST_SUITE_P(Baselines, Zoo, testing::ValuesIn(cases()),
                         [](const auto& one) { return one.param.name; });

TEST_P(Zoo, Shapes) {
  const auto model = make(at::kFloat);
  EmbeddingTables tables(spec_, 0.1, 1, at::kFloat);
  const auto logits = model->logits(tables.gather(planted::ragged(spec_, 3, 6), false));
  ASSERT_EQ(logits.size(), 2U);
  for (const at::Tensor& one : logits) EXPECT_EQ(one.sizes(), (std::vector<int64_t>{15}));
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const Parameter& parameter : model->parameters()) {
    EXPECT_TRUE(shapes.emplace(parameter.name, parameter.value.sizes().vec()).second) << parameter.name;
    EXPECT_EQ(parameter.decays, parameter.name.ends_with("weight")) << parameter.name;
  }
  EXPECT_EQ(model->tasks(), (std::vector<std::string>{"click", "purchase"}));
  const auto none = model->logits(tables.gather(planted::ragged(spec_, 2, 1), false));
  EXPECT_EQ(none[0].numel(), 0);
}

TEST_P(Zoo, CountsParameters) {
  if (GetParam().num_parameters < 0) GTEST_SKIP() << "counted at the tiny preset alone";
  EXPECT_EQ(make(at::kFloat)->num_dense_parameters(), GetParam().num_parameters);
}

// The formula against the products that torch ran.
TEST_P(Zoo, CountsFlops) {
  const auto model = make(at::kFloat);
  EmbeddingTables tables(spec_, 0.1, 1, at::kFloat);
  for (const int size : {1, 4}) {
    base::RandomStream random(7, 1);
    auto batch = planted::empty_batch(spec_);
    for (int r = 0; r < 3; ++r) {
      std::vector<int> items(static_cast<size_t>(size), r);
      planted::add_request(spec_, random, r, r, items, batch);
    }
    // Full histories: those the formula speaks of.
    const feature::Feature& clicks = planted::named(spec_, "clicks");
    auto& column = batch.ids[static_cast<size_t>(clicks.slot)];
    column.ids.assign(static_cast<size_t>(3 * clicks.max_length), 5);
    for (int32_t r = 0; r < 4; ++r)
      column.offsets[static_cast<size_t>(r)] = r * static_cast<int32_t>(clicks.max_length);
    const auto tensors = tables.gather(batch, false);
    const c10::NoGradGuard no_grad;
    const FlopCounter counter;
    model->logits(tensors);
    EXPECT_DOUBLE_EQ(counter.flops(), 3 * size * model->flops_per_candidate(size)) << size;
  }
  EXPECT_LT(model->flops_per_candidate(50), model->flops_per_candidate(1));
}

TEST_P(Zoo, GradientsAgreeWithFiniteDifferences) {
  const auto model = make(at::kDouble);
  EmbeddingTables tables(spec_, 1.0, 7, at::kDouble);
  checks::shake(*model, 0.15, 1);
  checks::expect_finite_differences(*model, spec_, tables, planted::ragged(spec_, 5, 5), 3);
}

TEST_P(Zoo, ListWiseEqualsOneCandidateEach) {
  const auto model = make(at::kDouble);
  EmbeddingTables tables(spec_, 1.0, 7, at::kDouble);
  checks::shake(*model, 0.3, 1);
  checks::expect_list_wise_equals_one_each(*model, spec_, tables, 11);
}

TEST_P(Zoo, LearnsAPlantedInteraction) {
  const auto spec = make_token_spec({"search"});
  Options options = options_of(GetParam());
  options.trunk = {32, 16};
  options.head = {16};
  const auto model = make_model(options, spec, at::kFloat);
  EXPECT_LT(checks::planted_loss(*model, spec, 300), 0.2);
}

// Every feature missing, every history and title empty: finite logits, and gradients to learn from.
TEST_P(Zoo, AbsentFeaturesAndEmptyHistories) {
  const auto model = make(at::kFloat);
  EmbeddingTables tables(spec_, 0.1, 1, at::kFloat);
  auto batch = planted::ragged(spec_, 3, 4);
  for (const feature::Feature& feature : spec_.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      auto& values = batch.floats[slot].values;
      for (size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 0.0F : 1.0F;
    } else if (batch.ids[slot].offsets.empty()) {
      std::fill(batch.ids[slot].ids.begin(), batch.ids[slot].ids.end(), 0);
    } else {
      batch.ids[slot].ids.clear();
      std::fill(batch.ids[slot].offsets.begin(), batch.ids[slot].offsets.end(), 0);
    }
  }
  feature::check_batch(batch, spec_);
  const auto logits = model->logits(tables.gather(batch, true));
  checks::plain_loss(logits, batch).backward();
  for (const at::Tensor& one : logits) EXPECT_TRUE(at::isfinite(one).all().item<bool>());
  for (const Parameter& parameter : model->parameters()) {
    if (parameter.value.grad().defined()) {
      EXPECT_TRUE(at::isfinite(parameter.value.grad()).all().item<bool>()) << parameter.name;
    }
  }
}

TEST_P(Zoo, AbsentDomainHasNoGradientAndOthersHaveOne) {
  const auto model = make(at::kFloat);
  EmbeddingTables tables(spec_, 0.5, 1, at::kFloat);
  base::RandomStream random(1, 1);
  auto batch = planted::empty_batch(spec_);
  planted::add_request(spec_, random, 3, 1, {1, 2, 3}, batch);
  checks::plain_loss(model->logits(tables.gather(batch, true)), batch).backward();
  for (const Parameter& parameter : model->parameters()) {
    const bool foreign = parameter.name.starts_with("head.") && !parameter.name.starts_with("head.feed.");
    EXPECT_EQ(parameter.value.grad().defined(), !foreign) << parameter.name;
  }
}

std::string error_of(const Options& options, const feature::FeatureSpec& spec) {
  try {
    make_model(options, spec, at::kFloat);
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ZooOptions, WhatDoesNotFitIsRefused) {
  Options options;
  options.preset = "tiny";
  options.architecture = "dcnv2";
  options.cross_rank = 0;
  options.cross_experts = 3;
  EXPECT_EQ(
      error_of(options, make_token_spec()),
      "model.cross_experts: a mixture needs experts of low rank, expected cross_rank above 0, got 3 experts "
      "of full rank");
  options = {};
  options.preset = "tiny";
  options.architecture = "onetrans";
  schema::LogSchema schema;
  const feature::FeatureSpec spec(
      {{.name = "clicks", .kind = "sequence", .source = "history.clicks.item_id", .buckets = 8, .dim = 4},
       {.name = "ages",
        .kind = "sequence",
        .source = "history.clicks.age_bucket",
        .buckets = 8,
        .dim = 2,
        .max_length = 10},
       {.name = "item", .source = "item_id", .buckets = 8, .dim = 4}},
      {{"user", "request", {"clicks", "ages"}}, {"item", "candidate", {"item"}}}, schema, {"clicks"},
      {"search"});
  EXPECT_EQ(error_of(options, spec),
            "model.architecture: onetrans reads the fields of an event together; feature \"ages\": expected "
            "max_length 50 as the others of clicks, got 10");
}

}  // namespace
}  // namespace uniscale::model
