// Losses of the tasks: binary cross-entropy, cart and purchase as products with click (ESMM) in log space;
// optionally a multi-positive list-wise loss on the click logit. Thread-safe: immutable.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "feature/request_batch.h"
#include "train/options.h"

namespace uniscale::train {

// Index into RequestBatch::tasks of each task name.
std::vector<int> task_indices(const std::vector<std::string>& tasks);

// What a batch's loss is made of, unweighted.
struct LossReport {
  std::vector<double> by_task;          // mean cross-entropy of each task
  std::vector<double> by_domain;        // mean over the domain's candidates of the sum over tasks; 0 if none
  std::vector<int64_t> num_candidates;  // by domain
  double listwise = 0;                  // mean over the positives that compete with a negative
};

class BatchLoss {
 public:
  // Throws UserError if options.domain_weights names a domain that is not the model's.
  BatchLoss(std::vector<std::string> tasks, std::vector<std::string> domains, const Options& options);

  // L = Σ_t λ_t · Σ_c λ_{d(c)} w_c · bce(label, p_t(c)) / C  [+ μ · listwise]. With label_weights a positive
  // weighs by its provenance weight and every candidate by its request's weight.
  //   click: p = σ(a).   cart, purchase: p = σ(a)·σ(b);  log p = ls(a) + ls(b),
  //   log(1−p) = logaddexp(ls(−a), ls(a) + ls(−b))
  // List-wise (paper §1.6): per request with clicked candidates E and the others N, positives never compete
  // with each other,   Σ_{i∈E} w_i · −log( e^{a_i} / (e^{a_i} + Σ_{j∈N} e^{a_j}) ) / C;   μ =
  // listwise_weight.
  at::Tensor operator()(const std::vector<at::Tensor>& logits, const feature::RequestBatch& batch,
                        LossReport& report) const;

 private:
  at::Tensor listwise(const at::Tensor& click_logit, const feature::RequestBatch& batch,
                      const at::Tensor& weight, LossReport& report) const;

  std::vector<std::string> tasks_;
  std::vector<int> indices_;
  std::vector<double> task_weights_, domain_weights_;
  const Options& options_;
};

}  // namespace uniscale::train
