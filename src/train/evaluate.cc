#include "train/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include "base/threads.h"
#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/losses.h"

namespace uniscale::train {

dataset::Options evaluation_set(dataset::Options options, const std::string& search_domain) {
  options.order = "time";
  options.domains = {search_domain};
  options.origins = {"exposed"};
  options.label_sources = {"native"};
  return options;
}

ScoredRows score_samples(const dataset::Options& options, const feature::FeatureSpec& spec,
                         const std::vector<std::string>& tasks, const Scorer& scorer) {
  ScoredRows rows;
  rows.tasks = tasks;
  rows.labels.resize(tasks.size());
  rows.scores.resize(tasks.size());
  const std::vector<int> indices = task_indices(tasks);
  dataset::Reader reader(options, spec);
  feature::RequestBatch batch;
  while (reader.next(batch)) {
    const auto scores = scorer(batch);
    for (int32_t r = 0; r < batch.num_requests; ++r) {
      const auto size = static_cast<size_t>(batch.candidate_offsets[static_cast<size_t>(r) + 1] -
                                            batch.candidate_offsets[static_cast<size_t>(r)]);
      rows.user_key.insert(rows.user_key.end(), size, batch.user_key[static_cast<size_t>(r)]);
      rows.request_key.insert(rows.request_key.end(), size, batch.request_key[static_cast<size_t>(r)]);
      rows.domain.insert(rows.domain.end(), size, batch.domain[static_cast<size_t>(r)]);
    }
    rows.origin.insert(rows.origin.end(), batch.origin.begin(), batch.origin.end());
    rows.position.insert(rows.position.end(), batch.position.begin(), batch.position.end());
    rows.item_key.insert(rows.item_key.end(), batch.item_key.begin(), batch.item_key.end());
    for (size_t t = 0; t < tasks.size(); ++t) {
      const auto& label = batch.tasks[indices[t]].label;
      rows.labels[t].insert(rows.labels[t].end(), label.begin(), label.end());
      rows.scores[t].insert(rows.scores[t].end(), scores[t].begin(), scores[t].end());
    }
  }
  return rows;
}

Scorer torch_scorer(TrainedModel& model) {
  return [&model](const feature::RequestBatch& batch) {
    const c10::NoGradGuard no_grad;
    const auto probabilities = model::probabilities(model.model->logits(model.tables->gather(batch, false)));
    std::vector<std::vector<float>> out;
    for (const at::Tensor& one : probabilities) {
      const at::Tensor values = one.contiguous();
      out.emplace_back(values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
    }
    return out;
  };
}

void set_torch_threads(int threads) { at::set_num_threads(base::resolve_num_threads(threads)); }

}  // namespace uniscale::train
