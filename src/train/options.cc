#include "train/options.h"

namespace uniscale::train {

const config::Section<Options>& section() {
  static const auto s =
      config::Section<Options>("train", "Training, checkpoints and export")
          .field("output", &Options::output, "folder of checkpoints, metrics.jsonl and TensorBoard events")
          .field("store", &Options::store, "log store whose items and users go into the bundle; empty: none")
          .field("repository", &Options::repository,
                 "model repository to export to at the end; empty: no export", {.source = "serving.md §4"})
          .field("model_name", &Options::model_name, "name in the repository")
          .field("eval_from", &Options::eval_from,
                 "first day that uniscale eval scores; empty: it must be told")
          .field("eval_to", &Options::eval_to, "last day that uniscale eval scores; empty: as eval_from")
          .field("epochs", &Options::epochs, "passes over the samples", {.min = 1, .source = "paper §2.9"})
          .field("max_steps", &Options::max_steps, "stop after so many steps; 0: no limit", {.min = 0})
          .field("dense_optimizer", &Options::dense_optimizer, "optimiser of dense parameters",
                 {.choices = {"adamw", "rmsprop"}, .source = "model.md"})
          .field("learning_rate", &Options::learning_rate, "of dense parameters", {.min = 0, .max = 1e6})
          .field("weight_decay", &Options::weight_decay, "of matrices; biases and embeddings do not decay",
                 {.min = 0, .max = 1e6})
          .field("beta1", &Options::beta1, "AdamW: first moment", {.min = 0, .max = 0.99999})
          .field("beta2", &Options::beta2, "AdamW and RMSProp: second moment", {.min = 0, .max = 0.999999})
          .field("sparse_optimizer", &Options::sparse_optimizer, "optimiser of embedding rows",
                 {.choices = {"rowwise_adagrad", "adam"}, .source = "model.md"})
          .field("sparse_learning_rate", &Options::sparse_learning_rate, "of embedding rows",
                 {.min = 0, .max = 1e6})
          .field("epsilon", &Options::epsilon, "added to the root of second moments", {.min = 0})
          .field("schedule", &Options::schedule, "of both learning rates after the warm-up",
                 {.choices = {"constant", "cosine"}})
          .field("warmup_steps", &Options::warmup_steps, "steps of linear warm-up",
                 {.min = 0, .unit = "steps"})
          .field("decay_steps", &Options::decay_steps, "cosine: step at which the rate reaches a tenth",
                 {.min = 1, .unit = "steps"})
          .field("clip_norm", &Options::clip_norm, "largest norm of the dense gradient; 0: no clipping",
                 {.min = 0})
          .field(
              "decay_absent", &Options::decay_absent,
              "weight decay and momentum go on for the experts and heads of a domain that is absent from a "
              "batch",
              {.source = "model.md"})
          .field("precision", &Options::precision, "bf16: autocast with fp32 master weights and fp32 heads",
                 {.choices = {"fp32", "bf16"}})
          .field("deterministic", &Options::deterministic,
                 "only algorithms that give the same bits again; an operation that has none is an error")
          .field(
              "loss", &Options::loss,
              "cross-entropy of each candidate, or with a multi-positive softmax over each request beside it",
              {.choices = {"bce", "bce+listwise"}, .source = "paper §1.6"})
          .field("listwise_weight", &Options::listwise_weight, "weight of the list-wise loss",
                 {.min = 0, .max = 1e6})
          .field("label_weights", &Options::label_weights, "weigh positives by their provenance weight",
                 {.source = "es3.md §3.5"})
          .field("task_weights", &Options::task_weights, "weight of a task's loss; tasks not named: 1",
                 {.min = 0})
          .field("domain_weights", &Options::domain_weights,
                 "weight of a domain's loss; domains not named: 1", {.min = 0, .source = "paper §2.6"})
          .field("first_steps_check", &Options::first_steps_check,
                 "before the first step, learn a few requests by heart on a copy, and after it, see that "
                 "parameters moved",
                 {.source = "model.md"})
          .field("fit_requests", &Options::fit_requests, "requests over which feature statistics are fitted",
                 {.min = 1, .unit = "requests"})
          .field("log_every", &Options::log_every, "steps between lines of metrics.jsonl",
                 {.min = 1, .unit = "steps"})
          .field("checkpoint_every", &Options::checkpoint_every, "steps between checkpoints",
                 {.min = 1, .unit = "steps"})
          .field("keep_checkpoints", &Options::keep_checkpoints, "newest checkpoints that are kept",
                 {.min = 1})
          .field("golden_requests", &Options::golden_requests,
                 "requests stored in the bundle with their scores",
                 {.min = 1, .max = 10000, .source = "serving.md §4"})
          .field("score_weights", &Options::score_weights, "score = product of head^weight",
                 {.min = 0, .source = "serving.md §1"});
  return s;
}

}  // namespace uniscale::train
