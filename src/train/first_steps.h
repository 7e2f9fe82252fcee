// The first-steps check (model.md "Training"): a model that cannot learn a few requests by heart, or whose
// parameters do not move, has a broken graph; better to hear it before the first step than after a day.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/domain_watch.h"
#include "train/options.h"

namespace uniscale::train {

// Whole requests of `batch` with at most `max_candidates` candidates in all, those with a positive label
// first; at least one. Left out: a candidate list of which some model input repeats one that was chosen with
// other labels, and a label that the products of tasks cannot reach (a purchase without a click). Empty if
// nothing is left: there is nothing that could be learned by heart.
feature::RequestBatch learnable_requests(const feature::RequestBatch& batch, const feature::FeatureSpec& spec,
                                         const std::vector<std::string>& tasks, int64_t max_candidates);

struct OverfitReport {
  int64_t num_candidates = 0;
  int64_t steps = 0;
  double first_loss = 0, last_loss = 0;  // Σ over tasks of mean cross-entropies, unweighted
  bool learned = false;
};

// Trains a fresh copy of the model on `batch` alone, from the initial weights, with rates of its own, until
// its loss is below a twentieth of the first one (or 0.01); the tables are read, not written. Gives up after
// 600 steps at each of three rates; `last_loss` is then the best, and a fifth of the first one is enough.
OverfitReport overfit_one_batch(const std::function<std::unique_ptr<model::Model>()>& make,
                                model::EmbeddingTables& tables, const feature::RequestBatch& batch,
                                const std::vector<std::string>& domains, const Options& options);

// Runs the two above on the first batch. Returns a line for people; throws UserError if the batch was not
// learned.
std::string check_first_batch(const std::function<std::unique_ptr<model::Model>()>& make,
                              model::EmbeddingTables& tables, const feature::RequestBatch& batch,
                              const feature::FeatureSpec& spec, const Options& options);

// After the first optimiser step, at learning rate `rate`: returns a line on how many dense parameters moved.
// `before`: their values before it, by parameter. Throws InternalError naming a parameter that had no
// gradient though its domain is in the batch, or if nothing moved though the rate could move it.
std::string check_movement(const model::Model& model, const std::vector<at::Tensor>& before,
                           const std::vector<double>& squared_norms, const DomainWatch& watch,
                           const model::BatchTensors& tensors, double rate);

// Runs the forward pass under the run's precision.
std::vector<at::Tensor> logits_at(const model::Model& model, const model::BatchTensors& tensors,
                                  const std::string& precision);

}  // namespace uniscale::train
