// Dense and sparse optimisers with states that a checkpoint can hold. A parameter without a gradient does not
// move and its state does not change: no decay, no stale momentum (model.md "Gradient rules"), unless
// `decay_absent`.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/options.h"

namespace uniscale::train {

// Learning-rate factor of step `step` (from 0): warm-up, then constant or cosine to a tenth.
double schedule_factor(const Options& options, int64_t step);

struct NamedState {
  std::string name;
  at::Tensor value;
};

class DenseOptimizer {
 public:
  DenseOptimizer(const std::vector<model::Parameter>& parameters, const Options& options);
  // Norm of the whole gradient before clipping. Clears the gradients.
  double step(double rate_factor);
  // By parameter, of the last step and before clipping: squared norm of its gradient, −1 if it had none.
  const std::vector<double>& squared_norms() const { return squared_norms_; }
  std::vector<NamedState> state() const;

 private:
  const std::vector<model::Parameter>& parameters_;
  const Options& options_;
  std::vector<at::Tensor> first_, second_;  // moments, by parameter
  at::Tensor steps_;                        // int64 by parameter: steps in which it had a gradient
  std::vector<double> squared_norms_;
};

class SparseOptimizer {
 public:
  SparseOptimizer(model::EmbeddingTables& tables, const Options& options);
  // Reads the gradients of `batch.rows`; reads and writes only the touched rows.
  void step(const model::BatchTensors& batch, double rate_factor);
  std::vector<NamedState> state() const;

 private:
  model::EmbeddingTables& tables_;
  const Options& options_;
  bool adam_;
  std::vector<at::Tensor> first_, second_,
      steps_;  // Adam: [rows, dim] twice and [rows]; Adagrad: second_ [rows] alone
};

}  // namespace uniscale::train
