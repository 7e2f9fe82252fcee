// Losses, optimisers and schedule against plain scalar twins.
#include "train/losses.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "model/planted_test.h"
#include "train/optimizers.h"

namespace uniscale::train {
namespace {

namespace planted = model::planted;

// Two requests of 2 and 3 candidates with made-up labels and weights.
feature::RequestBatch labelled_batch() {
  feature::RequestBatch batch;
  batch.num_requests = 2;
  batch.candidate_offsets = {0, 2, 5};
  batch.request_weight = {1.0F, 0.5F};
  batch.domain = {0, 1};
  batch.tasks[0] = {{1, 0, 1, 0, 1}, {0.7F, 1, 1, 1, 0.25F}, {}};
  batch.tasks[1] = {{0, 0, 1, 0, 0}, {1, 1, 0.5F, 1, 1}, {}};
  batch.tasks[2] = {{0, 0, 0, 0, 1}, {1, 1, 1, 1, 0.4F}, {}};
  return batch;
}

// log σ(x), exact for any x.
double log_sigmoid(double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

double plain_loss(const std::vector<std::vector<double>>& logits, const std::vector<int>& tasks,
                  const feature::RequestBatch& batch, const Options& options) {
  double total = 0;
  for (size_t t = 0; t < tasks.size(); ++t) {
    const feature::TaskLabels& labels = batch.tasks[tasks[t]];
    double sum = 0;
    for (int r = 0; r < batch.num_requests; ++r) {
      for (auto c = static_cast<size_t>(batch.candidate_offsets[static_cast<size_t>(r)]);
           c < static_cast<size_t>(batch.candidate_offsets[static_cast<size_t>(r) + 1]); ++c) {
        const double a = logits[0][c], b = logits[t][c];
        double log_p = log_sigmoid(a), log_not = log_sigmoid(-a);
        if (t > 0) {
          log_p = log_sigmoid(a) + log_sigmoid(b);
          // 1 − σ(a)σ(b) = (1 − σ(a)) + σ(a)(1 − σ(b))
          const double x = log_sigmoid(-a), y = log_sigmoid(a) + log_sigmoid(-b);
          log_not = std::max(x, y) + std::log1p(std::exp(-std::abs(x - y)));
        }
        double weight = 1;
        if (options.label_weights)
          weight =
              batch.request_weight[static_cast<size_t>(r)] * (labels.label[c] != 0 ? labels.weight[c] : 1);
        sum -= weight * (labels.label[c] != 0 ? log_p : log_not);
      }
    }
    const auto lambda = options.task_weights.find(std::string(schema::kTaskNames[tasks[t]]));
    total += sum / batch.num_candidates() * (lambda == options.task_weights.end() ? 1.0 : lambda->second);
  }
  return total;
}

std::vector<at::Tensor> tensors_of(const std::vector<std::vector<double>>& logits, at::ScalarType type) {
  std::vector<at::Tensor> out;
  for (const auto& one : logits)
    out.push_back(at::tensor(at::ArrayRef<double>(one)).to(type).requires_grad_(true));
  return out;
}

const std::vector<std::string> kDomains = {"search", "feed"};

const std::vector<std::vector<double>> kLogits = {
    {0.3, -1.2, 2.5, 0.0, -0.4}, {1.0, 0.2, -0.3, -2.0, 0.9}, {-1.0, 0.5, 0.1, 3.0, -0.6}};

TEST(BatchLoss, AgreesWithPlainTwin) {
  const auto batch = labelled_batch();
  for (const bool weights : {false, true}) {
    Options options;
    options.label_weights = weights;
    options.task_weights = {{"cart", 0.25}, {"click", 2.0}};
    LossReport report;
    const auto logits = tensors_of(kLogits, at::kDouble);
    const BatchLoss loss_of({"click", "cart", "purchase"}, kDomains, options);
    const auto loss = loss_of(logits, batch, report);
    EXPECT_NEAR(loss.item<double>(), plain_loss(kLogits, {0, 1, 2}, batch, options), 1e-7) << weights;
    ASSERT_EQ(report.by_task.size(), 3U);
    Options plain;
    plain.label_weights = false;
    EXPECT_NEAR(report.by_task[0], plain_loss(kLogits, {0}, batch, plain), 1e-12);
    // Unweighted, by domain: the first two candidates, the last three.
    const auto part = [&](const std::vector<size_t>& candidates) {
      double sum = 0;
      for (size_t c : candidates) {
        feature::RequestBatch one;
        one.num_requests = 1;
        one.candidate_offsets = {0, 1};
        one.domain = {0};
        std::vector<std::vector<double>> logits_of_one;
        for (size_t t = 0; t < 3; ++t) {
          one.tasks[t] = {{batch.tasks[t].label[c]}, {1}, {}};
          logits_of_one.push_back({kLogits[t][c]});
        }
        sum += plain_loss(logits_of_one, {0, 1, 2}, one, plain);
      }
      return sum / static_cast<double>(candidates.size());
    };
    EXPECT_EQ(report.num_candidates, (std::vector<int64_t>{2, 3}));
    EXPECT_NEAR(report.by_domain[0], part({0, 1}), 1e-12);
    EXPECT_NEAR(report.by_domain[1], part({2, 3, 4}), 1e-12);
  }
  // Click and purchase alone: the second logit belongs to purchase, the third task of the labels.
  Options options;
  LossReport report;
  const std::vector<std::vector<double>> two = {kLogits[0], kLogits[2]};
  const BatchLoss loss_of({"click", "purchase"}, kDomains, options);
  EXPECT_NEAR(loss_of(tensors_of(two, at::kDouble), batch, report).item<double>(),
              plain_loss(two, {0, 2}, batch, options), 1e-7);
}

TEST(BatchLoss, DomainsWeighAsTheySay) {
  const auto batch = labelled_batch();
  Options options;
  options.domain_weights = {{"feed", 0.0}};
  LossReport report;
  // With the feed's three candidates out, the first two remain, over all five.
  feature::RequestBatch first = batch;
  first.num_requests = 1;
  first.candidate_offsets = {0, 2};
  const auto loss =
      BatchLoss({"click"}, kDomains, options)(tensors_of({kLogits[0]}, at::kDouble), batch, report);
  EXPECT_NEAR(loss.item<double>(), plain_loss({kLogits[0]}, {0}, first, options) * 2 / 5, 1e-7);
  options.domain_weights = {{"shop", 1.0}};
  try {
    BatchLoss({"click"}, kDomains, options);
    FAIL() << "no error";
  } catch (const base::UserError& error) {
    EXPECT_STREQ(error.what(), "train.domain_weights.shop: expected a domain of the model (search, feed)");
  }
}

// By hand: the first request has one positive (weight 1 · 0.7) and one negative; the second, with weight 0.5,
// two positives (label weights 1 and 0.25) that meet its one negative each for itself.
TEST(BatchLoss, ListwiseComparesPositivesWithNegativesOnly) {
  const auto batch = labelled_batch();
  Options options;
  options.listwise_weight = 3;
  LossReport report;
  const auto plain =
      BatchLoss({"click"}, kDomains, options)(tensors_of({kLogits[0]}, at::kDouble), batch, report);
  EXPECT_EQ(report.listwise, 0);
  options.loss = "bce+listwise";
  const auto logits = tensors_of({kLogits[0]}, at::kDouble);
  const auto both = BatchLoss({"click"}, kDomains, options)(logits, batch, report);
  const auto term = [&](double positive, double negative) {
    return -std::log(std::exp(positive) / (std::exp(positive) + std::exp(negative)));
  };
  const double first = term(0.3, -1.2), second = term(2.5, 0.0), third = term(-0.4, 0.0);
  EXPECT_NEAR((both - plain).item<double>(), 3 * (0.7 * first + 0.5 * second + 0.5 * 0.25 * third) / 5, 1e-7);
  EXPECT_NEAR(report.listwise, (first + second + third) / 3, 1e-12);

  // Several negatives share one sum, at logits that would overflow a plain exponential.
  feature::RequestBatch three;
  three.num_requests = 2;
  three.candidate_offsets = {0, 3, 5};
  three.request_weight = {1, 1};
  three.domain = {0, 0};
  three.tasks[0] = {{0, 1, 0, 1, 1}, {1, 1, 1, 1, 1}, {}};  // the second list has no negative: nothing to say
  const auto large = tensors_of({{900, 899, 898, 5, 6}}, at::kDouble);
  LossReport of_three;
  const auto sum = BatchLoss({"click"}, kDomains, options)(large, three, of_three);
  EXPECT_NEAR(of_three.listwise, -std::log(std::exp(-1) / (std::exp(-1) + 1 + std::exp(-2))), 1e-9);
  sum.backward();
  EXPECT_TRUE(at::isfinite(large[0].grad()).all().item<bool>());
}

TEST(BatchLoss, ListwiseGradientAgreesWithFiniteDifferences) {
  const auto batch = labelled_batch();
  Options options;
  options.loss = "bce+listwise";
  const BatchLoss loss_of({"click", "purchase"}, kDomains, options);
  const std::vector<std::vector<double>> start = {kLogits[0], kLogits[2]};
  const auto logits = tensors_of(start, at::kDouble);
  LossReport report;
  loss_of(logits, batch, report).backward();
  for (size_t t = 0; t < 2; ++t) {
    for (size_t c = 0; c < 5; ++c) {
      const auto at_shift = [&](double h) {
        auto moved = start;
        moved[t][c] += h;
        return loss_of(tensors_of(moved, at::kDouble), batch, report).item<double>();
      };
      EXPECT_NEAR(logits[t].grad()[static_cast<int64_t>(c)].item<double>(),
                  (at_shift(1e-6) - at_shift(-1e-6)) / 2e-6, 1e-8);
    }
  }
}

TEST(BatchLoss, WeightsCountAsTheySay) {
  // One clicked candidate of label weight 0.25 in a request of weight 0.5, at logit 0: ln 2 · 0.125.
  feature::RequestBatch batch;
  batch.num_requests = 1;
  batch.candidate_offsets = {0, 1};
  batch.request_weight = {0.5F};
  batch.domain = {0};
  batch.tasks[0] = {{1}, {0.25F}, {}};
  Options options;
  LossReport report;
  const BatchLoss loss_of({"click"}, kDomains, options);
  EXPECT_NEAR(loss_of(tensors_of({{0.0}}, at::kDouble), batch, report).item<double>(),
              std::numbers::ln2 * 0.125, 1e-12);
  EXPECT_NEAR(report.by_task[0], std::numbers::ln2, 1e-12);
}

TEST(BatchLoss, StaysFiniteAtExtremeLogits) {
  auto batch = labelled_batch();
  batch.candidate_offsets = {0, 2, 4};
  for (auto& task : batch.tasks) {
    task.label = {1, 0, 1, 0};
    task.weight = {1, 1, 1, 1};
  }
  const std::vector<std::vector<double>> logits = {{80, 80, -80, -80}, {-80, 80, 80, -80}};
  for (const auto type : {at::kFloat, at::kDouble}) {
    Options options;
    LossReport report;
    const auto tensors = tensors_of(logits, type);
    const auto loss = BatchLoss({"click", "cart"}, kDomains, options)(tensors, batch, report);
    EXPECT_NEAR(loss.item<double>(), plain_loss(logits, {0, 1}, batch, options), 1e-4);
    loss.backward();
    for (const auto& one : tensors) EXPECT_TRUE(at::isfinite(one.grad()).all().item<bool>());
  }
}

// One dense parameter of 3 values and one without a gradient, 5 steps of made-up gradients.
struct DenseCase {
  DenseCase() {
    for (const char* name : {"moves", "bias", "absent"}) {
      parameters.push_back(
          {name, at::tensor({0.5F, -1.0F, 2.0F}).requires_grad_(true), std::string(name) != "bias"});
    }
  }
  static double gradient(int step, int i) { return std::sin(1.0 + 3.0 * step + i) * (i == 2 ? 1e-3 : 1.0); }
  void set_gradients(int step) {
    for (size_t p = 0; p < 2; ++p) {
      at::Tensor grad = at::empty({3});
      for (int i = 0; i < 3; ++i) grad[i] = gradient(step, i);
      parameters[p].value.mutable_grad() = grad;
    }
  }
  std::vector<model::Parameter> parameters;
};

TEST(DenseOptimizer, AgreesWithScalarTwins) {
  for (const std::string name : {"adamw", "rmsprop"}) {
    Options options;
    options.dense_optimizer = name;
    options.learning_rate = 0.1;
    options.weight_decay = 0.2;
    options.clip_norm = 0;
    options.beta2 = 0.97;
    DenseCase dense;
    DenseOptimizer optimizer(dense.parameters, options);
    double x[2][3] = {{0.5, -1.0, 2.0}, {0.5, -1.0, 2.0}}, m[2][3] = {}, v[2][3] = {};
    for (int step = 0; step < 5; ++step) {
      dense.set_gradients(step);
      const double factor = 0.5 + 0.1 * step, rate = options.learning_rate * factor;
      double norm = 0;
      for (int p = 0; p < 2; ++p) {
        for (int i = 0; i < 3; ++i) {
          const double g = DenseCase::gradient(step, i);
          norm += g * g;
          if (p == 0) x[p][i] *= 1 - rate * options.weight_decay;
          m[p][i] = options.beta1 * m[p][i] + (1 - options.beta1) * g;
          v[p][i] = options.beta2 * v[p][i] + (1 - options.beta2) * g * g;
          const double root = std::sqrt(v[p][i] / (1 - std::pow(options.beta2, step + 1))) + options.epsilon;
          x[p][i] -= rate * (name == "adamw" ? m[p][i] / (1 - std::pow(options.beta1, step + 1)) : g) / root;
        }
      }
      EXPECT_NEAR(optimizer.step(factor), std::sqrt(norm), 1e-5);
    }
    for (size_t p = 0; p < 2; ++p) {
      for (int i = 0; i < 3; ++i)
        EXPECT_NEAR(dense.parameters[p].value[i].item<double>(), x[p][i], 2e-6) << name << p << i;
      EXPECT_FALSE(dense.parameters[p].value.grad().defined()) << "gradients are cleared";
    }
    // Absent from every step: bit-equal, though it is of the kind that decays.
    EXPECT_TRUE(at::equal(dense.parameters[2].value, at::tensor({0.5F, -1.0F, 2.0F})));
  }
}

TEST(DenseOptimizer, AbsentParameterKeepsStateAndValue) {
  Options options;
  DenseCase dense;
  DenseOptimizer optimizer(dense.parameters, options);
  dense.set_gradients(0);
  optimizer.step(1);
  dense.set_gradients(1);
  dense.parameters[0].value.mutable_grad().reset();
  std::vector<at::Tensor> before;
  for (const NamedState& one : optimizer.state()) before.push_back(one.value.clone());
  const at::Tensor value = dense.parameters[0].value.detach().clone();
  optimizer.step(1);
  EXPECT_TRUE(at::equal(dense.parameters[0].value, value));
  size_t i = 0;
  for (const NamedState& one : optimizer.state()) {
    if (one.name.ends_with(".moves")) {
      EXPECT_TRUE(at::equal(one.value, before[i])) << one.name;
    }
    if (one.name.ends_with(".bias")) {
      EXPECT_FALSE(at::equal(one.value, before[i])) << one.name;
    }
    ++i;
  }
}

// decay_absent: as if the gradient had been zero; without it the parameter stands still (above).
TEST(DenseOptimizer, DecayAbsentGoesOnWithoutAGradient) {
  Options options;
  options.decay_absent = true;
  options.weight_decay = 0.5;
  options.learning_rate = 0.1;
  DenseCase dense;
  DenseOptimizer optimizer(dense.parameters, options);
  dense.set_gradients(0);
  optimizer.step(1);
  dense.parameters[0].value.mutable_grad().reset();
  dense.parameters[1].value.mutable_grad().reset();
  const at::Tensor before = dense.parameters[0].value.detach().clone();
  EXPECT_EQ(optimizer.step(1), 0);
  // First moment after a step with g and one with 0: (1 − β₁)·β₁·g, over 1 − β₁²; second alike.
  for (int i = 0; i < 3; ++i) {
    const double g = DenseCase::gradient(0, i);
    const double first = (1 - options.beta1) * options.beta1 * g / (1 - options.beta1 * options.beta1);
    const double second = (1 - options.beta2) * options.beta2 * g * g / (1 - options.beta2 * options.beta2);
    const double want =
        before[i].item<double>() * (1 - 0.1 * 0.5) - 0.1 * first / (std::sqrt(second) + options.epsilon);
    EXPECT_NEAR(dense.parameters[0].value[i].item<double>(), want, 1e-6);
  }
  // Never had a gradient, but decays: 0.95² of what it was.
  EXPECT_NEAR(dense.parameters[2].value[2].item<double>(), 2.0 * 0.95 * 0.95, 1e-6);
}

TEST(DenseOptimizer, ClipsTheWholeNorm) {
  Options options;
  options.dense_optimizer = "rmsprop";
  options.weight_decay = 0;
  options.beta2 = 0;
  options.epsilon = 1;  // the step is g / (|g| + 1): it shows the size of g
  options.learning_rate = 1;
  options.clip_norm = 1;
  std::vector<model::Parameter> parameters = {{"a", at::zeros({1}).requires_grad_(true), false},
                                              {"b", at::zeros({1}).requires_grad_(true), false}};
  DenseOptimizer optimizer(parameters, options);
  parameters[0].value.mutable_grad() = at::tensor({3.0F});
  parameters[1].value.mutable_grad() = at::tensor({-4.0F});
  EXPECT_NEAR(optimizer.step(1), 5, 1e-6);
  EXPECT_NEAR(parameters[0].value.item<double>(), -0.6 / 1.6, 1e-6);
  EXPECT_NEAR(parameters[1].value.item<double>(), 0.8 / 1.8, 1e-6);
}

TEST(SparseOptimizer, AgreesWithScalarTwinsAndLeavesOtherRows) {
  at::set_num_threads(1);
  const auto spec = planted::make_spec({"search"});
  for (const std::string name : {"rowwise_adagrad", "adam"}) {
    Options options;
    options.sparse_optimizer = name;
    options.sparse_learning_rate = 0.1;
    model::EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
    const auto start = [&] {
      std::vector<at::Tensor> out;
      for (const at::Tensor& table : tables.tables()) out.push_back(table.clone());
      return out;
    }();
    SparseOptimizer optimizer(tables, options);
    const int table = planted::named(spec, "item").table;
    const auto slot = static_cast<size_t>(planted::named(spec, "item").slot);
    // Items 3, 3, 5 in every step, no history: the gradient of row 3 is the sum over both places.
    std::vector<double> x3(4), m(4), v(4);
    for (int d = 0; d < 4; ++d)
      x3[static_cast<size_t>(d)] = start[static_cast<size_t>(table)][4][d].item<double>();
    double sum = 0;
    for (int step = 0; step < 4; ++step) {
      auto batch = planted::empty_batch(spec);
      base::RandomStream random(1, 1);
      planted::add_request(spec, random, 0, 0, {3, 3, 5}, batch);
      batch.ids[static_cast<size_t>(planted::named(spec, "clicks").slot)] = {{}, {0, 0}};
      const auto tensors = tables.gather(batch, true);
      // Σ over places p and widths d of (p + 1)(d + 1)·row[d]: gradient 1·(d + 1) + 2·(d + 1) for row 4.
      const at::Tensor rows = tensors.rows[static_cast<size_t>(table)].index_select(0, tensors.ids[slot]);
      const at::Tensor place = at::tensor({1.0F, 2.0F, 3.0F}).view({3, 1});
      const at::Tensor width = at::tensor({1.0F, 2.0F, 3.0F, 4.0F});
      const double sign = step == 2 ? -1.0 : 1.0;
      (rows * place * width * sign).sum().backward();
      optimizer.step(tensors, 0.5);
      double squares = 0;
      for (int d = 0; d < 4; ++d) squares += 9.0 * (d + 1) * (d + 1);
      sum += squares / 4;
      for (int d = 0; d < 4; ++d) {
        const auto i = static_cast<size_t>(d);
        const double g = sign * 3.0 * (d + 1), rate = 0.05;
        m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
        v[i] = options.beta2 * v[i] + (1 - options.beta2) * g * g;
        x3[i] -= name == "adam"
                     ? rate * (m[i] / (1 - std::pow(options.beta1, step + 1))) /
                           (std::sqrt(v[i] / (1 - std::pow(options.beta2, step + 1))) + options.epsilon)
                     : rate * g / (std::sqrt(sum) + options.epsilon);
      }
    }
    const at::Tensor& now = tables.tables()[static_cast<size_t>(table)];
    for (int d = 0; d < 4; ++d)
      EXPECT_NEAR(now[4][d].item<double>(), x3[static_cast<size_t>(d)], 1e-5) << name << d;
    for (int64_t row = 0; row < now.size(0); ++row) {
      if (row != 4 && row != 6) {
        EXPECT_TRUE(at::equal(now[row], start[static_cast<size_t>(table)][row])) << row;
      }
    }
    EXPECT_FALSE(at::equal(now[6], start[static_cast<size_t>(table)][6]));
    // Tables that the loss did not read: gathered, but without a gradient.
    for (size_t t = 0; t < start.size(); ++t) {
      if (t != static_cast<size_t>(table)) {
        EXPECT_TRUE(at::equal(tables.tables()[t], start[t]));
      }
    }
  }
}

TEST(Schedule, WarmsUpThenStaysOrFallsToATenth) {
  Options options;
  options.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(schedule_factor(options, 0), 0.25);
  EXPECT_DOUBLE_EQ(schedule_factor(options, 3), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(options, 100'000), 1.0);
  options.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(schedule_factor(options, 0), 1.0);
  options.schedule = "cosine";
  options.decay_steps = 1000;
  EXPECT_DOUBLE_EQ(schedule_factor(options, 0), 1.0);
  EXPECT_NEAR(schedule_factor(options, 500), 0.55, 1e-12);
  EXPECT_NEAR(schedule_factor(options, 1000), 0.1, 1e-12);
  EXPECT_NEAR(schedule_factor(options, 5000), 0.1, 1e-12);
}

}  // namespace
}  // namespace uniscale::train
