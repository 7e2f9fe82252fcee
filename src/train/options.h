// `[train]`: losses, optimisers, schedule, checkpoints, export.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace uniscale::train {

struct Options {
  std::string output = "train";  // checkpoints, metrics.jsonl, TensorBoard events
  std::string store;             // log store: item and user tables of the bundle; empty: none
  std::string repository;        // model repository to export to at the end; empty: no export
  std::string model_name = "main";
  std::string eval_from, eval_to;  // days that uniscale eval scores if not told otherwise
  int64_t epochs = 1;
  int64_t max_steps = 0;  // 0: no limit
  std::string dense_optimizer = "adamw";
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  double beta1 = 0.9, beta2 = 0.99;
  std::string sparse_optimizer = "rowwise_adagrad";
  double sparse_learning_rate = 0.05;
  double epsilon = 1e-8;
  std::string schedule = "constant";
  int64_t warmup_steps = 50;
  int64_t decay_steps = 10'000;
  double clip_norm = 10.0;
  bool decay_absent = false;
  std::string precision = "fp32";
  bool deterministic = true;
  std::string loss = "bce";
  double listwise_weight = 1.0;
  bool label_weights = true;
  config::DoubleMap task_weights;
  config::DoubleMap domain_weights;
  bool first_steps_check = true;
  int64_t fit_requests = 20'000;
  int64_t log_every = 50;
  int64_t checkpoint_every = 1000;
  int64_t keep_checkpoints = 3;
  int64_t golden_requests = 64;
  config::DoubleMap score_weights = {{"click", 1.0}};
};
const config::Section<Options>& section();

}  // namespace uniscale::train
