#include "train/first_steps.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/planted_test.h"

namespace uniscale::train {
namespace {

namespace planted = model::planted;
using testing::HasSubstr;
using testing::MatchesRegex;

model::Options small_options() {
  model::Options options;
  options.preset = "tiny";
  options.token_dim = 8;
  options.trunk = {16};
  options.head = {8};
  return options;
}

// Gives the logits of another model a twist.
class Twisted final : public model::Model {
 public:
  Twisted(std::unique_ptr<model::Model> inner, std::function<at::Tensor(const at::Tensor&)> twist)
      : inner_(std::move(inner)), twist_(std::move(twist)) {}
  std::vector<at::Tensor> logits(const model::BatchTensors& batch) const override {
    std::vector<at::Tensor> out;
    for (const at::Tensor& one : inner_->logits(batch)) out.push_back(twist_(one));
    return out;
  }
  const std::vector<model::Parameter>& parameters() const override { return inner_->parameters(); }
  json::Value architecture_options() const override { return inner_->architecture_options(); }
  const std::vector<std::string>& tasks() const override { return inner_->tasks(); }
  double flops_per_candidate(double candidates) const override {
    return inner_->flops_per_candidate(candidates);
  }

 private:
  std::unique_ptr<model::Model> inner_;
  std::function<at::Tensor(const at::Tensor&)> twist_;
};

class FirstSteps : public testing::Test {
 protected:
  FirstSteps()
      : spec_(planted::make_spec()),
        tables_(spec_, 0.01, 1, at::kFloat),
        batch_(planted::ragged(spec_, 3, 16)) {
    at::set_num_threads(1);
  }
  std::unique_ptr<model::Model> make() const { return model::make_model(small_options(), spec_, at::kFloat); }
  std::string check(const std::function<at::Tensor(const at::Tensor&)>& twist) {
    try {
      return check_first_batch([&] { return std::make_unique<Twisted>(make(), twist); }, tables_, batch_,
                               spec_, options_);
    } catch (const base::UserError& error) {
      return error.what();
    }
  }

  feature::FeatureSpec spec_;
  model::EmbeddingTables tables_;
  feature::RequestBatch batch_;
  Options options_;
};

TEST_F(FirstSteps, AModelThatLearnsPassesAndNothingElseMoves) {
  std::vector<at::Tensor> before;
  for (const at::Tensor& table : tables_.tables()) before.push_back(table.clone());
  for (const char* precision : {"fp32", "bf16"}) {
    options_.precision = precision;
    EXPECT_THAT(check([](const at::Tensor& logit) { return logit; }),
                MatchesRegex("first steps: a copy learned [0-9]+ candidates by heart: loss 1\\.[0-9]+ → "
                             "0\\.0[0-9]+ in [0-9]+ steps"));
  }
  for (size_t t = 0; t < before.size(); ++t) EXPECT_TRUE(at::equal(tables_.tables()[t], before[t]));
}

TEST_F(FirstSteps, ABrokenGraphFailsLoudly) {
  const std::string expected =
      "first-steps check: a copy of the model did not learn [0-9]+ candidates by heart: loss [0-9.]+ at "
      "first, "
      "[0-9.]+ at best in 600 steps at each of the rates 0.01, 0.003, 0.03; a feature may be constant or far "
      "too large, or the model too small; train.first_steps_check = false skips this";
  EXPECT_THAT(check([](const at::Tensor& logit) { return logit.detach(); }), MatchesRegex(expected));
  // All candidates get one logit.
  EXPECT_THAT(check([](const at::Tensor& logit) { return logit.mean().expand_as(logit); }),
              MatchesRegex(expected));
  EXPECT_THAT(check([](const at::Tensor& logit) { return logit * at::full({}, NAN); }),
              HasSubstr("did not learn"));
}

TEST_F(FirstSteps, ChoosesWholeRequestsWithPositivesFirst) {
  const auto all = learnable_requests(batch_, spec_, {"click", "purchase"}, 1000);
  const auto few = learnable_requests(batch_, spec_, {"click", "purchase"}, 20);
  feature::check_batch(all, spec_);
  feature::check_batch(few, spec_);
  EXPECT_LE(few.num_candidates(), 20);
  EXPECT_GT(few.num_candidates(), 5);
  EXPECT_LT(few.num_requests, all.num_requests);
  // Larger than the limit alone: still one request.
  const auto one = learnable_requests(planted::full_grid(spec_, 1), spec_, {"click"}, 5);
  EXPECT_EQ(one.num_requests, 1);
  EXPECT_EQ(one.num_candidates(), planted::kNumItems);
  int64_t positives = 0;
  for (uint8_t label : few.tasks[0].label) positives += label;
  EXPECT_GT(positives, 0);
}

TEST_F(FirstSteps, LeavesOutWhatNobodyCanLearn) {
  base::RandomStream random(1, 1);
  auto batch = planted::empty_batch(spec_);
  planted::add_request(spec_, random, 3, 0, {4, 4}, batch);
  // Equal inputs, other labels.
  batch.ids[static_cast<size_t>(planted::named(spec_, "title").slot)] = {{}, {0, 0, 0}};
  auto& prices = batch.floats[static_cast<size_t>(planted::named(spec_, "price").slot)].values;
  prices = {0.5F, 0, 0.5F, 0};
  batch.tasks[0].label = {1, 0};
  batch.tasks[2].label = {0, 0};
  EXPECT_EQ(learnable_requests(batch, spec_, {"click"}, 64).num_requests, 0);
  EXPECT_THAT(check_first_batch([&] { return make(); }, tables_, batch, spec_, options_),
              HasSubstr("no request of the first batch can be learned by heart"));
  // Other prices: learnable.
  prices[0] = 0.25F;
  EXPECT_EQ(learnable_requests(batch, spec_, {"click"}, 64).num_requests, 1);
  // A purchase without a click is out of reach of a product.
  batch.tasks[0].label = {0, 0};
  batch.tasks[2].label = {1, 0};
  EXPECT_EQ(learnable_requests(batch, spec_, {"click", "purchase"}, 64).num_requests, 0);
  EXPECT_EQ(learnable_requests(batch, spec_, {"click"}, 64).num_requests, 1);
}

TEST_F(FirstSteps, MovementIsCountedAndStandstillIsAnError) {
  const auto model = make();
  std::vector<at::Tensor> before;
  for (const auto& parameter : model->parameters()) before.push_back(parameter.value.detach().clone());
  const DomainWatch watch(model->parameters(), spec_.domains());
  base::RandomStream random(1, 1);
  auto feed = planted::empty_batch(spec_);
  planted::add_request(spec_, random, 3, 1, {4, 5}, feed);
  const auto tensors = tables_.gather(feed, false);
  std::vector<double> squared_norms;
  for (int domain : watch.domain_of()) squared_norms.push_back(domain == 0 ? -1.0 : 1.0);
  const auto error_of = [&](double rate) -> std::string {
    try {
      return check_movement(*model, before, squared_norms, watch, tensors, rate);
    } catch (const base::InternalError& error) {
      return error.what();
    }
  };
  EXPECT_THAT(error_of(1e-3), HasSubstr("no dense parameter moved in the first step"));
  EXPECT_THAT(error_of(0), HasSubstr("first step: 0 of 30 dense parameter tensors moved"));
  {
    const c10::NoGradGuard no_grad;
    for (size_t i = 0; i < before.size(); ++i) {
      if (squared_norms[i] > 0 && i != 1) at::Tensor(model->parameters()[i].value).add_(1);
    }
  }
  EXPECT_EQ(
      error_of(1e-3),
      "first step: 21 of 30 dense parameter tensors moved, 8 belong to domains that are not in the batch, "
      "1 stayed");
  squared_norms[0] = -1;
  EXPECT_THAT(error_of(1e-3), HasSubstr("token.user.0.weight got no gradient in the first step"));
}

TEST_F(FirstSteps, Bf16KeepsHeadsAndMasterWeightsInFp32) {
  const auto model = make();
  const auto tensors = tables_.gather(batch_, true);
  const auto fp32 = logits_at(*model, tensors, "fp32"), bf16 = logits_at(*model, tensors, "bf16");
  for (size_t t = 0; t < bf16.size(); ++t) {
    EXPECT_EQ(bf16[t].scalar_type(), at::kFloat);
    EXPECT_FALSE(at::equal(bf16[t], fp32[t])) << "bf16 had no effect";
    EXPECT_LE((bf16[t] - fp32[t]).abs().max().item<double>(), 1e-2);
    // Rounded to bf16 they would be equal to themselves: a head in bf16 gives no other values.
    EXPECT_FALSE(at::equal(bf16[t], bf16[t].to(at::kBFloat16).to(at::kFloat)));
  }
  (bf16[0].sum() + bf16[1].sum()).backward();
  for (const auto& parameter : model->parameters()) {
    EXPECT_EQ(parameter.value.scalar_type(), at::kFloat);
    EXPECT_EQ(parameter.value.grad().scalar_type(), at::kFloat) << parameter.name;
  }
  for (const at::Tensor& rows : tensors.rows) EXPECT_EQ(rows.grad().scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace uniscale::train
