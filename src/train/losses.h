// Binary cross-entropy of the tasks; cart and purchase as products with click (ESMM), in log space.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "feature/request_batch.h"
#include "train/options.h"

namespace uniscale::train {

// Index into RequestBatch::tasks of each task name.
std::vector<int> task_indices(const std::vector<std::string>& tasks);

// Σ_t λ_t · Σ_c w_c · bce(label, p_t(c)) / C. With label_weights a positive weighs by its provenance weight
// and every candidate by its request's weight. Also fills `by_task` with the unweighted mean losses.
//   click: p = σ(a).   cart, purchase: p = σ(a)·σ(b);  log p = ls(a) + ls(b),  log(1−p) = logaddexp(ls(−a),
//   ls(a) + ls(−b))
at::Tensor batch_loss(const std::vector<at::Tensor>& logits, const std::vector<std::string>& tasks,
                      const feature::RequestBatch& batch, const Options& options,
                      std::vector<double>& by_task);

}  // namespace uniscale::train
