#include "train/losses.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::train {

std::vector<int> task_indices(const std::vector<std::string>& tasks) {
  std::vector<int> indices;
  for (const std::string& task : tasks) {
    const auto it = std::find(schema::kTaskNames.begin(), schema::kTaskNames.end(), task);
    US_CHECK(it != schema::kTaskNames.end(), "unknown task " + task);
    indices.push_back(static_cast<int>(it - schema::kTaskNames.begin()));
  }
  return indices;
}

at::Tensor batch_loss(const std::vector<at::Tensor>& logits, const std::vector<std::string>& tasks,
                      const feature::RequestBatch& batch, const Options& options,
                      std::vector<double>& by_task) {
  const auto num_candidates = static_cast<int64_t>(batch.num_candidates());
  const at::Tensor a = logits[0];
  const at::Tensor log_click = at::log_sigmoid(a), log_no_click = at::log_sigmoid(-a);
  at::Tensor total;
  by_task.clear();
  const std::vector<int> indices = task_indices(tasks);
  for (size_t t = 0; t < tasks.size(); ++t) {
    const feature::TaskLabels& labels = batch.tasks[indices[t]];
    std::vector<float> weights(static_cast<size_t>(num_candidates), 1.0F);
    if (options.label_weights) {
      for (int32_t r = 0; r < batch.num_requests; ++r) {
        for (auto c = static_cast<size_t>(batch.candidate_offsets[static_cast<size_t>(r)]);
             c < static_cast<size_t>(batch.candidate_offsets[static_cast<size_t>(r) + 1]); ++c) {
          weights[c] =
              batch.request_weight[static_cast<size_t>(r)] * (labels.label[c] != 0 ? labels.weight[c] : 1.0F);
        }
      }
    }
    const at::Tensor label =
        at::from_blob(const_cast<uint8_t*>(labels.label.data()), {num_candidates}, at::kByte)
            .to(a.scalar_type());
    // A copy: the backward pass reads it after this block.
    const at::Tensor weight =
        at::from_blob(weights.data(), {num_candidates}, at::kFloat).clone().to(a.scalar_type());
    at::Tensor log_p = log_click, log_not_p = log_no_click;
    if (t > 0) {
      const at::Tensor& b = logits[t];
      log_p = log_click + at::log_sigmoid(b);
      log_not_p = at::logaddexp(log_no_click, log_click + at::log_sigmoid(-b));
    }
    const at::Tensor loss = -(label * log_p + (1 - label) * log_not_p);
    by_task.push_back(loss.detach().mean().item<double>());
    const auto lambda = options.task_weights.find(tasks[t]);
    const at::Tensor weighted =
        (loss * weight).sum() *
        ((lambda == options.task_weights.end() ? 1.0 : lambda->second) / static_cast<double>(num_candidates));
    total = total.defined() ? total + weighted : weighted;
  }
  return total;
}

}  // namespace uniscale::train
