#include "train/losses.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace uniscale::train {
namespace {

at::Tensor labels_of(const feature::TaskLabels& labels, const at::Tensor& like) {
  return at::from_blob(const_cast<uint8_t*>(labels.label.data()), {static_cast<int64_t>(labels.label.size())},
                       at::kByte)
      .to(like.scalar_type());
}

// [C]: what a candidate weighs in the loss of a task.
at::Tensor weights_of(const feature::TaskLabels& labels, const feature::RequestBatch& batch,
                      bool label_weights, const std::vector<double>& domain_weights, const at::Tensor& like) {
  std::vector<float> weights(static_cast<size_t>(batch.num_candidates()), 1.0F);
  for (size_t r = 0; r < static_cast<size_t>(batch.num_requests); ++r) {
    const double of_domain = domain_weights[static_cast<size_t>(batch.domain[r])];
    for (auto c = static_cast<size_t>(batch.candidate_offsets[r]);
         c < static_cast<size_t>(batch.candidate_offsets[r + 1]); ++c) {
      const double of_label =
          label_weights ? batch.request_weight[r] * (labels.label[c] != 0 ? labels.weight[c] : 1.0F) : 1.0;
      weights[c] = static_cast<float>(of_domain * of_label);
    }
  }
  // A copy: the backward pass reads it after this block.
  return at::from_blob(weights.data(), {batch.num_candidates()}, at::kFloat).clone().to(like.scalar_type());
}

}  // namespace

std::vector<int> task_indices(const std::vector<std::string>& tasks) {
  std::vector<int> indices;
  for (const std::string& task : tasks) {
    const auto it = std::find(schema::kTaskNames.begin(), schema::kTaskNames.end(), task);
    US_CHECK(it != schema::kTaskNames.end(), "unknown task " + task);
    indices.push_back(static_cast<int>(it - schema::kTaskNames.begin()));
  }
  return indices;
}

BatchLoss::BatchLoss(std::vector<std::string> tasks, std::vector<std::string> domains, const Options& options)
    : tasks_(std::move(tasks)), indices_(task_indices(tasks_)), options_(options) {
  const auto weight_of = [](const config::DoubleMap& weights, const std::string& name) {
    const auto it = weights.find(name);
    return it == weights.end() ? 1.0 : it->second;
  };
  for (const std::string& task : tasks_) task_weights_.push_back(weight_of(options.task_weights, task));
  for (const std::string& domain : domains)
    domain_weights_.push_back(weight_of(options.domain_weights, domain));
  for (const auto& [name, weight] : options.domain_weights) {
    US_REQUIRE(std::find(domains.begin(), domains.end(), name) != domains.end(),
               fmt::format("train.domain_weights.{}: expected a domain of the model ({})", name,
                           fmt::join(domains, ", ")));
  }
}

at::Tensor BatchLoss::operator()(const std::vector<at::Tensor>& logits, const feature::RequestBatch& batch,
                                 LossReport& report) const {
  const auto num_candidates = static_cast<int64_t>(batch.num_candidates());
  const at::Tensor a = logits[0];
  const at::Tensor log_click = at::log_sigmoid(a), log_no_click = at::log_sigmoid(-a);
  at::Tensor total, unweighted, click_weight;
  report = {};
  for (size_t t = 0; t < tasks_.size(); ++t) {
    const feature::TaskLabels& labels = batch.tasks[indices_[t]];
    const at::Tensor label = labels_of(labels, a);
    const at::Tensor weight = weights_of(labels, batch, options_.label_weights, domain_weights_, a);
    if (t == 0) click_weight = weight;
    at::Tensor log_p = log_click, log_not_p = log_no_click;
    if (t > 0) {
      const at::Tensor& b = logits[t];
      log_p = log_click + at::log_sigmoid(b);
      log_not_p = at::logaddexp(log_no_click, log_click + at::log_sigmoid(-b));
    }
    const at::Tensor loss = -(label * log_p + (1 - label) * log_not_p);
    report.by_task.push_back(loss.detach().mean().item<double>());
    unweighted = unweighted.defined() ? unweighted + loss.detach() : loss.detach();
    const at::Tensor weighted =
        (loss * weight).sum() * (task_weights_[t] / static_cast<double>(num_candidates));
    total = total.defined() ? total + weighted : weighted;
  }
  const at::Tensor sums = unweighted.to(at::kDouble).contiguous();
  report.by_domain.assign(domain_weights_.size(), 0.0);
  report.num_candidates.assign(domain_weights_.size(), 0);
  for (size_t r = 0; r < static_cast<size_t>(batch.num_requests); ++r) {
    const auto d = static_cast<size_t>(batch.domain[r]);
    for (int32_t c = batch.candidate_offsets[r]; c < batch.candidate_offsets[r + 1]; ++c)
      report.by_domain[d] += sums.data_ptr<double>()[c];
    report.num_candidates[d] += batch.candidate_offsets[r + 1] - batch.candidate_offsets[r];
  }
  for (size_t d = 0; d < domain_weights_.size(); ++d)
    report.by_domain[d] /= static_cast<double>(std::max<int64_t>(1, report.num_candidates[d]));
  if (options_.loss == "bce+listwise") total = total + listwise(a, batch, click_weight, report);
  return total;
}

at::Tensor BatchLoss::listwise(const at::Tensor& click_logit, const feature::RequestBatch& batch,
                               const at::Tensor& weight, LossReport& report) const {
  const feature::TaskLabels& labels = batch.tasks[indices_[0]];
  std::vector<int64_t> positives, of_request, negatives, negative_request;
  int64_t num_lists = 0;
  for (size_t r = 0; r < static_cast<size_t>(batch.num_requests); ++r) {
    const auto begin = static_cast<size_t>(batch.candidate_offsets[r]),
               end = static_cast<size_t>(batch.candidate_offsets[r + 1]);
    const auto num_positive = std::count_if(labels.label.begin() + static_cast<ptrdiff_t>(begin),
                                            labels.label.begin() + static_cast<ptrdiff_t>(end),
                                            [](uint8_t label) { return label != 0; });
    if (num_positive == 0 || num_positive == static_cast<ptrdiff_t>(end - begin)) continue;
    for (size_t c = begin; c < end; ++c) {
      const bool positive = labels.label[c] != 0;
      (positive ? positives : negatives).push_back(static_cast<int64_t>(c));
      (positive ? of_request : negative_request).push_back(num_lists);
    }
    ++num_lists;
  }
  if (num_lists == 0) return at::zeros({}, click_logit.options());
  const at::Tensor places = at::tensor(negatives), lists = at::tensor(negative_request),
                   own = at::tensor(of_request), chosen = at::tensor(positives);
  const at::Tensor others = click_logit.index_select(0, places);  // [negatives]
  // log Σ_{j∈N} e^{a_j} of each list, with its largest logit taken out.
  const at::Tensor largest =
      at::full({num_lists}, -std::numeric_limits<double>::infinity(), others.options().requires_grad(false))
          .scatter_reduce(0, lists, others.detach(), "amax");
  const at::Tensor sum = at::zeros({num_lists}, largest.options())
                             .index_add(0, lists, at::exp(others - largest.index_select(0, lists)));
  const at::Tensor log_others = (largest + at::log(sum)).index_select(0, own);  // [positives]
  const at::Tensor mine = click_logit.index_select(0, chosen);
  const at::Tensor loss = at::logaddexp(mine, log_others) - mine;
  report.listwise = loss.detach().mean().item<double>();
  return (loss * weight.index_select(0, chosen)).sum() *
         (options_.listwise_weight / static_cast<double>(batch.num_candidates()));
}

}  // namespace uniscale::train
