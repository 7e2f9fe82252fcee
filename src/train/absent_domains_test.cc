// model.md "Gradient rules" through whole optimiser steps: a domain that a batch lacks stands still, to the
// bit.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "model/model_checks_test.h"
#include "train/optimizers.h"

namespace uniscale::train {
namespace {

namespace planted = model::planted;

bool of_absent_domain(const std::string& name) {
  for (const char* domain : {"search", "shop"}) {
    for (const char* part : {"dref.expert.", "dref.gate.", "dapga.expert.", "head."})
      if (name.find(fmt::format("{}{}.", part, domain)) != std::string::npos) return true;
  }
  return false;
}

class AbsentDomains : public testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {
 protected:
  AbsentDomains() : spec_(planted::make_token_spec()) {
    options_.dense_optimizer = std::get<0>(GetParam());
    options_.weight_decay = 0.1;
    options_.learning_rate = 0.01;
    model::Options model_options;
    model_options.architecture = "hhsft";
    model_options.preset = "tiny";
    model_options.stop_gradient = std::get<2>(GetParam());
    model_ = model::make_model(model_options, spec_, at::kFloat);
    const c10::NoGradGuard no_grad;
    for (const model::Parameter& one : model_->parameters()) {  // no head's hidden units all off
      if (one.name.starts_with("head.") && one.name.ends_with(".0.bias")) at::Tensor(one.value).add_(1.0);
    }
    tables_ = std::make_unique<model::EmbeddingTables>(spec_, 0.5, 1, at::kFloat);
  }

  feature::RequestBatch batch(const std::vector<int>& domains) {
    auto out = planted::empty_batch(spec_);
    for (int domain : domains) planted::add_request(spec_, random_, 3 + domain, domain, {1, 2, 3, 4}, out);
    return out;
  }

  void step(DenseOptimizer& dense, const feature::RequestBatch& batch) {
    const bool bf16 = std::get<1>(GetParam()) == std::string("bf16");
    at::autocast::set_autocast_enabled(at::kCPU, bf16);
    if (bf16) at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const auto logits = model_->logits(tables_->gather(batch, true));
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    model::checks::plain_loss(logits, batch).backward();
    dense.step(1.0);
  }

  // Weights and every optimiser state that has their name.
  std::map<std::string, at::Tensor> everything(const DenseOptimizer& dense) const {
    std::map<std::string, at::Tensor> out;
    for (const model::Parameter& one : model_->parameters()) out[one.name] = one.value.detach().clone();
    for (const NamedState& one : dense.state()) out[one.name] = one.value.clone();
    return out;
  }

  feature::FeatureSpec spec_;
  Options options_;
  base::RandomStream random_{7, 1};
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<model::EmbeddingTables> tables_;
};

TEST_P(AbsentDomains, StandStillAndOthersMove) {
  DenseOptimizer dense(model_->parameters(), options_);
  step(dense, batch({0, 1, 2}));  // every domain gets momentum
  const auto before = everything(dense);
  for (int i = 0; i < 3; ++i) step(dense, batch({1, 1}));
  int still = 0, moved = 0;
  for (const auto& [name, value] : everything(dense)) {
    if (name == "dense.steps") continue;
    const bool equal = at::equal(value, before.at(name));
    EXPECT_EQ(equal, of_absent_domain(name)) << name;
    ++(equal ? still : moved);
  }
  // 2 domains × 5 two-layer parts × (weight, bias), and as often in each moment.
  const int states = options_.dense_optimizer == "adamw" ? 3 : 2;
  EXPECT_EQ(still, 2 * 5 * 2 * 2 * states);
  EXPECT_GT(moved, still);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, AbsentDomains,
                         testing::Combine(testing::Values("adamw", "rmsprop"),
                                          testing::Values("fp32", "bf16"), testing::Values("pre", "post")));

}  // namespace
}  // namespace uniscale::train
