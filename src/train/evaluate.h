// Scores a sample set and keeps what the metrics need.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataset/dataset.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "train/trainer.h"

namespace uniscale::train {

// Probabilities [C] by task, in the order of the model's tasks.
using Scorer = std::function<std::vector<std::vector<float>>(const feature::RequestBatch& batch)>;

// One row a candidate.
struct ScoredRows {
  std::vector<std::string> tasks;
  std::vector<uint64_t> user_key;
  std::vector<uint64_t> request_key;
  std::vector<uint64_t> item_key;  // only where options.item_keys
  std::vector<int32_t> domain;     // index into the spec's domains
  std::vector<schema::Origin> origin;
  std::vector<int32_t> position;             // shown position, −1 = not shown
  std::vector<std::vector<uint8_t>> labels;  // by task
  std::vector<std::vector<float>> scores;    // by task
};

// The evaluation set of model tables (docs/metrics.md): search domain, exposed candidates, native labels; the
// days of `options`.
dataset::Options evaluation_set(dataset::Options options, const std::string& search_domain);

ScoredRows score_samples(const dataset::Options& options, const feature::FeatureSpec& spec,
                         const std::vector<std::string>& tasks, const Scorer& scorer);

// The torch model itself, without gradients.
Scorer torch_scorer(TrainedModel& model);
// How many threads torch computes with from now on in this process; 0: all CPUs.
void set_torch_threads(int threads);

}  // namespace uniscale::train
