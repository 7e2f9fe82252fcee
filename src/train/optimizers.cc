#include "train/optimizers.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/kernels/training.h"

namespace uniscale::train {

double schedule_factor(const Options& options, int64_t step) {
  double factor = 1.0;
  if (step < options.warmup_steps)
    factor = static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (options.schedule == "cosine") {
    const double progress =
        std::min(1.0, static_cast<double>(step) / static_cast<double>(options.decay_steps));
    factor *= 0.1 + 0.9 * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  }
  return factor;
}

DenseOptimizer::DenseOptimizer(const std::vector<model::Parameter>& parameters, const Options& options)
    : parameters_(parameters),
      options_(options),
      steps_(at::zeros({static_cast<int64_t>(parameters.size())}, at::kLong)) {
  for (const model::Parameter& parameter : parameters) {
    if (options.dense_optimizer == "adamw")
      first_.push_back(at::zeros_like(parameter.value, at::TensorOptions().requires_grad(false)));
    second_.push_back(at::zeros_like(parameter.value, at::TensorOptions().requires_grad(false)));
  }
}

double DenseOptimizer::step(double rate_factor) {
  const c10::NoGradGuard no_grad;
  const runtime::TrainingKernels& kernels = runtime::best_training_kernels(runtime::Precision::Fp32);
  double squared_norm = 0;
  squared_norms_.clear();
  for (const model::Parameter& parameter : parameters_) {
    const at::Tensor grad = parameter.value.grad();
    if (grad.defined()) parameter.value.mutable_grad() = grad.contiguous();
    squared_norms_.push_back(
        grad.defined() ? kernels.squared_sum(parameter.value.grad().data_ptr<float>(), grad.numel()) : -1.0);
    if (grad.defined()) squared_norm += squared_norms_.back();
  }
  const double norm = std::sqrt(squared_norm);
  const double scale = options_.clip_norm > 0 && norm > options_.clip_norm ? options_.clip_norm / norm : 1.0;
  const double rate = options_.learning_rate * rate_factor;
  auto* steps = steps_.data_ptr<int64_t>();
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& value = parameters_[i].value;
    const bool absent = !value.grad().defined();
    if (absent && !options_.decay_absent) continue;
    const at::Tensor grad = absent ? at::zeros_like(value) : value.grad();
    const auto step = static_cast<double>(++steps[i]);
    const bool adam = !first_.empty();
    runtime::AdamArgs args;
    args.value = value.data_ptr<float>();
    args.grad = grad.data_ptr<float>();
    args.first = adam ? first_[i].data_ptr<float>() : nullptr;
    args.second = second_[i].data_ptr<float>();
    args.size = value.numel();
    args.scale = static_cast<float>(scale);
    args.keep = static_cast<float>(parameters_[i].decays ? 1.0 - rate * options_.weight_decay : 1.0);
    args.rate = static_cast<float>(adam ? rate / (1.0 - std::pow(options_.beta1, step)) : rate);
    args.beta1 = static_cast<float>(options_.beta1);
    args.beta2 = static_cast<float>(options_.beta2);
    args.second_factor = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta2, step)));
    args.epsilon = static_cast<float>(options_.epsilon);
    kernels.adam(args);
    value.mutable_grad().reset();
  }
  return norm;
}

std::vector<NamedState> DenseOptimizer::state() const {
  std::vector<NamedState> out{{"dense.steps", steps_}};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!first_.empty()) out.push_back({"dense.first." + parameters_[i].name, first_[i]});
    out.push_back({"dense.second." + parameters_[i].name, second_[i]});
  }
  return out;
}

SparseOptimizer::SparseOptimizer(model::EmbeddingTables& tables, const Options& options)
    : tables_(tables), options_(options), adam_(options.sparse_optimizer == "adam") {
  for (const at::Tensor& table : tables.tables()) {
    if (adam_) {
      first_.push_back(at::zeros_like(table));
      second_.push_back(at::zeros_like(table));
      steps_.push_back(at::zeros({table.size(0)}, at::kInt));
    } else {
      second_.push_back(at::zeros({table.size(0)}, at::kFloat));
    }
  }
}

void SparseOptimizer::step(const model::BatchTensors& batch, double rate_factor) {
  const c10::NoGradGuard no_grad;
  const auto rate = static_cast<float>(options_.sparse_learning_rate * rate_factor);
  const auto epsilon = static_cast<float>(options_.epsilon);
  const auto beta1 = static_cast<float>(options_.beta1), beta2 = static_cast<float>(options_.beta2);
  for (size_t t = 0; t < batch.rows.size(); ++t) {
    const at::Tensor grads = batch.rows[t].grad();
    if (!grads.defined()) continue;
    const at::Tensor contiguous = grads.contiguous();
    const int64_t dim = contiguous.size(1);
    const auto* grad = contiguous.data_ptr<float>();
    auto* table = tables_.tables()[t].data_ptr<float>();
    for (const int32_t id : batch.touched[t]) {
      float* row = table + static_cast<int64_t>(id) * dim;
      if (adam_) {
        float* first = first_[t].data_ptr<float>() + static_cast<int64_t>(id) * dim;
        float* second = second_[t].data_ptr<float>() + static_cast<int64_t>(id) * dim;
        const int32_t steps = ++steps_[t].data_ptr<int32_t>()[id];
        const float correction1 = 1.0F - std::pow(beta1, static_cast<float>(steps));
        const float correction2 = 1.0F - std::pow(beta2, static_cast<float>(steps));
        for (int64_t d = 0; d < dim; ++d) {
          first[d] = beta1 * first[d] + (1.0F - beta1) * grad[d];
          second[d] = beta2 * second[d] + (1.0F - beta2) * grad[d] * grad[d];
          row[d] -= rate * (first[d] / correction1) / (std::sqrt(second[d] / correction2) + epsilon);
        }
      } else {
        float mean_square = 0;
        for (int64_t d = 0; d < dim; ++d) mean_square += grad[d] * grad[d];
        float& sum = second_[t].data_ptr<float>()[id];
        sum += mean_square / static_cast<float>(dim);
        const float factor = rate / (std::sqrt(sum) + epsilon);
        for (int64_t d = 0; d < dim; ++d) row[d] -= factor * grad[d];
      }
      grad += dim;
    }
  }
}

std::vector<NamedState> SparseOptimizer::state() const {
  std::vector<NamedState> out;
  for (size_t t = 0; t < second_.size(); ++t) {
    const std::string index = std::to_string(t);
    if (adam_) {
      out.push_back({"sparse.first." + index, first_[t]});
      out.push_back({"sparse.steps." + index, steps_[t]});
    }
    out.push_back({"sparse.second." + index, second_[t]});
  }
  return out;
}

}  // namespace uniscale::train
