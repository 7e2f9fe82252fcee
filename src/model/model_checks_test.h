// What every architecture must pass, on the planted batches.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "model/model.h"
#include "model/planted_test.h"

namespace uniscale::model::checks {

// Tensors here are tiny: a second thread would only wait for the first.
inline const bool kOneThread = (at::set_num_threads(1), true);

// Mean binary cross-entropy of click and of purchase as a product with click, as the trainer has it, written
// the plain way. The tasks must be click and purchase.
inline at::Tensor plain_loss(const std::vector<at::Tensor>& logits, const feature::RequestBatch& batch) {
  const std::vector<at::Tensor> p = probabilities(logits);
  at::Tensor loss;
  for (const auto& [probability, task] : {std::pair{p[0], size_t{0}}, std::pair{p[1], size_t{2}}}) {
    const at::Tensor y =
        at::tensor(at::ArrayRef<uint8_t>(batch.tasks[task].label)).to(logits[0].scalar_type());
    const at::Tensor one = -(y * probability.log() + (1 - y) * (1 - probability).log()).mean();
    loss = loss.defined() ? loss + one : one;
  }
  return loss;
}

// Moves every weight away from its initial value, norms' gains too, so that no term is small by accident.
inline void shake(const Model& model, double size, int64_t seed) {
  const c10::NoGradGuard no_grad;
  at::manual_seed(static_cast<uint64_t>(seed));
  for (const Parameter& parameter : model.parameters()) {
    at::Tensor value = parameter.value;
    value.add_(at::randn_like(value), size);
  }
}

inline void clear_gradients(const Model& model) {
  for (const Parameter& parameter : model.parameters()) at::Tensor(parameter.value).mutable_grad().reset();
}

// Central differences of the plain loss against the gradients of `batch`, in double: up to `per_tensor`
// places of each parameter that `chosen` wants (empty: all), and of each touched table if all are wanted.
inline void expect_finite_differences(const Model& model, const feature::FeatureSpec& spec,
                                      EmbeddingTables& tables, const feature::RequestBatch& batch,
                                      int64_t per_tensor = 12,
                                      const std::function<bool(const std::string&)>& chosen = nullptr) {
  clear_gradients(model);
  const auto tensors = tables.gather(batch, true);
  plain_loss(model.logits(tensors), batch).backward();
  const auto slope = [&](double& x) {
    const c10::NoGradGuard no_grad;
    const auto loss_at = [&](double value) {
      x = value;
      return plain_loss(model.logits(tables.gather(batch, false)), batch).item<double>();
    };
    const double h = 1e-5, was = x;
    const double up = loss_at(was + h), down = loss_at(was - h);
    x = was;
    return (up - down) / (2 * h);
  };
  double largest = 0;
  const auto compare = [&](double got, double& x, const std::string& where) {
    const double want = slope(x);
    EXPECT_NEAR(got, want, 1e-8 + 1e-6 * std::abs(want)) << where;
    largest = std::max(largest, std::abs(got));
  };
  for (const Parameter& parameter : model.parameters()) {
    if (chosen && !chosen(parameter.name)) continue;
    const at::Tensor grad = parameter.value.grad();
    ASSERT_TRUE(grad.defined()) << parameter.name;
    const at::Tensor flat = grad.contiguous();
    const int64_t stride = std::max<int64_t>(1, flat.numel() / per_tensor);
    for (int64_t i = 0; i < flat.numel(); i += stride)
      compare(flat.data_ptr<double>()[i], parameter.value.data_ptr<double>()[i],
              parameter.name + " " + std::to_string(i));
  }
  for (size_t t = 0; !chosen && t < tables.tables().size(); ++t) {
    const at::Tensor grad = tensors.rows[t].grad();
    ASSERT_TRUE(grad.defined()) << spec.tables()[t].name;
    const at::Tensor flat = grad.contiguous();
    const int64_t dim = flat.size(1), stride = std::max<int64_t>(1, flat.numel() / per_tensor);
    for (int64_t i = 0; i < flat.numel(); i += stride) {
      const int32_t row = tensors.touched[t][static_cast<size_t>(i / dim)];
      compare(flat.data_ptr<double>()[i], tables.tables()[t].data_ptr<double>()[row * dim + i % dim],
              spec.tables()[t].name + " row " + std::to_string(row));
    }
  }
  EXPECT_GT(largest, 1e-3) << "every gradient is small: the test shows nothing";
}

// A batch with shared request sides against the same rows one by one: logits, and the gradients of every
// parameter and embedding row, in double. Sums are in another order, hence the tolerance.
inline void expect_list_wise_equals_one_each(const Model& model, const feature::FeatureSpec& spec,
                                             EmbeddingTables& tables, uint64_t seed) {
  const feature::RequestBatch together = planted::ragged(spec, seed, 9);
  const feature::RequestBatch apart = planted::one_candidate_each(spec, together);
  std::vector<std::vector<at::Tensor>> logits, gradients;
  for (const feature::RequestBatch* batch : {&together, &apart}) {
    clear_gradients(model);
    const auto tensors = tables.gather(*batch, true);
    logits.push_back(model.logits(tensors));
    plain_loss(logits.back(), *batch).backward();
    gradients.emplace_back();
    for (const Parameter& parameter : model.parameters())
      gradients.back().push_back(parameter.value.grad().defined() ? parameter.value.grad().clone()
                                                                  : at::zeros_like(parameter.value));
    for (size_t t = 0; t < tables.tables().size(); ++t) {
      const at::Tensor touched = at::tensor(at::ArrayRef<int32_t>(tensors.touched[t]));
      gradients.back().push_back(
          at::zeros_like(tables.tables()[t]).index_add_(0, touched, tensors.rows[t].grad()));
    }
  }
  for (size_t t = 0; t < logits[0].size(); ++t) {
    EXPECT_LE((logits[0][t] - logits[1][t]).abs().max().item<double>(), 1e-12);
    EXPECT_GT((logits[0][t] - logits[0][t].mean()).abs().max().item<double>(), 1e-3)
        << "all logits are alike";
  }
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    const double scale = std::max(1.0, gradients[0][i].abs().max().item<double>());
    EXPECT_LE((gradients[0][i] - gradients[1][i]).abs().max().item<double>(), 1e-12 * scale)
        << (i < model.parameters().size() ? model.parameters()[i].name : "a table");
  }
}

// Loss of click after `steps` steps of RMSProp's shape on the full grid. The label is the XOR of two parities
// and every user and item is balanced, so a model whose logit is f(user) + g(item) cannot get below ln 2: the
// loss is convex in f and g and symmetric.
inline double planted_loss(const Model& model, const feature::FeatureSpec& spec, int steps,
                           double rate = 0.005) {
  EmbeddingTables tables(spec, 1.0, 1, at::kFloat);
  const auto batch = planted::full_grid(spec, 1);
  const at::Tensor label = at::tensor(at::ArrayRef<uint8_t>(batch.tasks[0].label)).to(at::kFloat);
  std::vector<at::Tensor> squares;
  for (const Parameter& parameter : model.parameters()) squares.push_back(at::zeros_like(parameter.value));
  for (const at::Tensor& table : tables.tables()) squares.push_back(at::zeros_like(table));
  const auto descend = [&](at::Tensor value, const at::Tensor& grad, at::Tensor& square) {
    square.mul_(0.9).addcmul_(grad, grad, 0.1);
    value.addcdiv_(grad, square.sqrt().add_(1e-8), -rate);
  };
  double loss_now = 0;
  for (int step = 0; step < steps; ++step) {
    const auto tensors = tables.gather(batch, true);
    const at::Tensor loss = at::binary_cross_entropy_with_logits(model.logits(tensors)[0], label);
    loss_now = loss.item<double>();
    loss.backward();
    const c10::NoGradGuard no_grad;
    size_t next = 0;
    for (const Parameter& parameter : model.parameters()) {
      at::Tensor value = parameter.value;
      if (value.grad().defined()) descend(value, value.grad(), squares[next]);
      value.mutable_grad().reset();
      ++next;
    }
    for (size_t t = 0; t < tensors.rows.size(); ++t, ++next) {
      const at::Tensor touched = at::tensor(at::ArrayRef<int32_t>(tensors.touched[t]));
      const at::Tensor grad =
          at::zeros_like(tables.tables()[t]).index_add_(0, touched, tensors.rows[t].grad());
      descend(tables.tables()[t], grad, squares[next]);
    }
  }
  return loss_now;
}

}  // namespace uniscale::model::checks
