#include "model/dlrm_mlp.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "model/model_checks_test.h"
#include "model/planted_test.h"
#include "model/registry.h"

namespace uniscale::model {
namespace {

using checks::plain_loss;
using planted::make_spec;

Options small_options() {
  Options options;
  options.token_dim = 4;
  options.trunk = {6, 5};
  options.head = {3};
  return options;
}

TEST(DlrmMlp, ShapesAndNames) {
  const auto spec = make_spec();
  const auto model = make_model(small_options(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.1, 1, at::kFloat);
  ASSERT_EQ(tables.tables().size(), 3U);
  const auto batch = planted::ragged(spec, 3, 5);
  feature::check_batch(batch, spec);
  const auto logits = model->logits(tables.gather(batch, false));
  ASSERT_EQ(logits.size(), 2U);
  for (const at::Tensor& one : logits) EXPECT_EQ(one.sizes(), (std::vector<int64_t>{10}));
  std::vector<std::string> names;
  for (const Parameter& parameter : model->parameters()) {
    names.push_back(parameter.name);
    EXPECT_EQ(parameter.decays, parameter.name.ends_with(".weight")) << parameter.name;
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"token.user.0.weight", "token.match.1.bias", "trunk.0.weight",
                                            "trunk.1.bias", "head.search.click.0.weight",
                                            "head.feed.purchase.1.bias"}));
}

// token.user 8→4→4, token.item 7→4→4, token.match 2→4→4; trunk 12→6→5; 2 domains × 2 tasks of 5→3→1.
TEST(DlrmMlp, CountsParametersAndFlops) {
  const auto spec = make_spec();
  const auto model = make_model(small_options(), spec, at::kFloat);
  const int64_t tokens = (8 * 4 + 4 + 4 * 4 + 4) + (7 * 4 + 4 + 4 * 4 + 4) + (2 * 4 + 4 + 4 * 4 + 4);
  const int64_t trunk = 12 * 6 + 6 + 6 * 5 + 5;
  const int64_t head = 5 * 3 + 3 + 3 * 1 + 1;
  EXPECT_EQ(model->num_dense_parameters(), tokens + trunk + 4 * head);
  EXPECT_EQ(tokens + trunk + 4 * head, 341);
  // Per candidate: 2·(7·4 + 16 + 2·4 + 16) of its tokens, 2·8·6 of trunk.0, 2·30 of trunk.1, two heads 2·18.
  const double candidate = 2 * (28 + 16 + 8 + 16) + 2 * 48 + 2 * 30 + 2 * 2 * 18;
  const double request = 2 * (32 + 16) + 2 * 4 * 6;
  EXPECT_DOUBLE_EQ(model->flops_per_candidate(1), candidate + request);
  EXPECT_DOUBLE_EQ(model->flops_per_candidate(50), candidate + request / 50);
  EXPECT_DOUBLE_EQ(candidate + request, 508);
}

TEST(DlrmMlp, GradientsAgreeWithFiniteDifferences) {
  const auto spec = make_spec();
  const auto model = make_model(small_options(), spec, at::kDouble);
  EmbeddingTables tables(spec, 1.0, 7, at::kDouble);
  checks::shake(*model, 0.3, 1);
  checks::expect_finite_differences(*model, spec, tables, planted::ragged(spec, 5, 6), 1000);
}

TEST(DlrmMlp, LearnsAPlantedInteraction) {
  const auto spec = make_spec({"search"});
  Options options = small_options();
  options.token_dim = 8;
  options.trunk = {32, 16};
  options.head = {16};
  EXPECT_LT(checks::planted_loss(*make_model(options, spec, at::kFloat), spec, 300), 0.2);
}

TEST(DlrmMlp, ListWiseEqualsOneCandidateEach) {
  const auto spec = make_spec();
  const auto model = make_model(small_options(), spec, at::kDouble);
  EmbeddingTables tables(spec, 0.5, 1, at::kDouble);
  checks::expect_list_wise_equals_one_each(*model, spec, tables, 11);
}

TEST(DlrmMlp, AbsentDomainHasNoGradient) {
  const auto spec = make_spec({"search", "feed"});
  const auto model = make_model(small_options(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  base::RandomStream random(1, 1);
  auto batch = planted::empty_batch(spec);
  planted::add_request(spec, random, 3, 1, {1, 2, 3}, batch);
  plain_loss(model->logits(tables.gather(batch, true)), batch).backward();
  for (const Parameter& parameter : model->parameters()) {
    EXPECT_EQ(parameter.value.grad().defined(), !parameter.name.starts_with("head.search."))
        << parameter.name;
  }
}

TEST(DlrmMlp, EachDomainGoesThroughItsOwnHeads) {
  const auto spec = make_spec({"search", "feed"});
  const auto model = make_model(small_options(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  const auto batch = planted::ragged(spec, 2, 6);
  const auto before = model->logits(tables.gather(batch, false))[0].detach().clone();
  {
    const c10::NoGradGuard no_grad;
    for (const Parameter& parameter : model->parameters()) {
      at::Tensor value = parameter.value;
      if (parameter.name == "head.feed.click.1.bias") value.add_(1.0);
    }
  }
  const auto after = model->logits(tables.gather(batch, false))[0].detach();
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    for (int32_t c = batch.candidate_offsets[static_cast<size_t>(r)];
         c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
      EXPECT_NEAR((after[c] - before[c]).item<double>(),
                  batch.domain[static_cast<size_t>(r)] == 1 ? 1.0 : 0.0, 1e-6);
    }
  }
}

TEST(DlrmMlp, NoCandidatesNoLogits) {
  const auto spec = make_spec();
  const auto model = make_model(small_options(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  const auto none = model->logits(tables.gather(planted::ragged(spec, 2, 1), false));
  ASSERT_EQ(none.size(), 2U);
  EXPECT_EQ(none[0].numel(), 0);
}

TEST(DlrmMlp, SameSeedSameWeights) {
  const auto spec = make_spec();
  Options options = small_options();
  const auto a = make_model(options, spec, at::kFloat), b = make_model(options, spec, at::kFloat);
  options.init_seed = 2;
  const auto c = make_model(options, spec, at::kFloat);
  for (size_t i = 0; i < a->parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(a->parameters()[i].value, b->parameters()[i].value)) << a->parameters()[i].name;
    EXPECT_FALSE(at::equal(a->parameters()[i].value, c->parameters()[i].value)) << a->parameters()[i].name;
  }
  const EmbeddingTables x(spec, 0.1, 1, at::kFloat), y(spec, 0.1, 1, at::kFloat), z(spec, 0.1, 2, at::kFloat);
  EXPECT_TRUE(at::equal(x.tables()[1], y.tables()[1]));
  EXPECT_FALSE(at::equal(x.tables()[1], z.tables()[1]));
}

TEST(EmbeddingTables, GatherKeepsEachRowOnceAndEmptyBagsAreZero) {
  const auto spec = make_spec();
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  const auto batch = planted::ragged(spec, 4, 8);
  for (int again = 0; again < 2; ++again) {  // nothing may be left over from the first call
    const auto tensors = tables.gather(batch, false);
    for (const feature::Feature& feature : spec.features()) {
      if (!feature.has_ids) continue;
      const auto& touched = tensors.touched[static_cast<size_t>(feature.table)];
      EXPECT_TRUE(std::is_sorted(touched.begin(), touched.end()));
      EXPECT_EQ(std::adjacent_find(touched.begin(), touched.end()), touched.end());
      const auto& ids = batch.ids[static_cast<size_t>(feature.slot)].ids;
      const at::Tensor& local = tensors.ids[static_cast<size_t>(feature.slot)];
      ASSERT_EQ(local.numel(), static_cast<int64_t>(ids.size()));
      for (size_t i = 0; i < ids.size(); ++i)
        EXPECT_EQ(touched[static_cast<size_t>(local.data_ptr<int64_t>()[i])], ids[i]) << feature.name;
    }
  }
}

TEST(Probabilities, PurchaseIsAProductWithClick) {
  const std::vector<at::Tensor> logits = {at::tensor({0.0, 2.0}), at::tensor({1.0, -1.0})};
  const auto p = probabilities(logits);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_NEAR(p[0][1].item<double>(), sigmoid(2), 1e-12);
  EXPECT_NEAR(p[1][0].item<double>(), 0.5 * sigmoid(1), 1e-12);
  EXPECT_NEAR(p[1][1].item<double>(), sigmoid(2) * sigmoid(-1), 1e-12);
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelOptions, BadCombinationsAreRefused) {
  const auto spec = make_spec();
  const auto refuse = [&](auto change) {
    Options options = small_options();
    change(options);
    return message_of([&] { make_model(options, spec, at::kFloat); });
  };
  std::string all;
  for (const std::string& name : architecture_names()) all += (all.empty() ? "" : ", ") + name;
  EXPECT_EQ(refuse([](Options& o) { o.architecture = "abc"; }),
            "model.architecture: expected one of " + all + ", got abc");
  EXPECT_EQ(refuse([](Options& o) { o.tasks = {"cart", "click"}; }), "model.tasks: expected \"click\" first");
  EXPECT_EQ(refuse([](Options& o) { o.tasks = {"click", "cart", "cart"}; }),
            "model.tasks: a task is named twice");
  EXPECT_EQ(refuse([](Options& o) { o.preset = "huge"; }),
            "model.preset: expected one of tiny, small, base, 1x, 4x, got huge");
  Options options;
  options.domains = {"feed", "search"};
  EXPECT_EQ(message_of([&] { resolve_domains(options, "search"); }),
            "model.domains: expected the search domain \"search\" first, got \"feed\"");
  options.domains = {"search", "feed", "feed"};
  EXPECT_EQ(message_of([&] { resolve_domains(options, "search"); }),
            "model.domains: a domain is named twice");
  options.domains = {};
  EXPECT_THAT(resolve_domains(options, "main"), testing::ElementsAre("main"));
}

}  // namespace
}  // namespace uniscale::model
