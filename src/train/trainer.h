// The training loop: a pass over the samples in time order, checkpoints, metrics, resume.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dataset/dataset.h"
#include "feature/feature_spec.h"
#include "model/options.h"
#include "train/options.h"

namespace uniscale::model {
class EmbeddingTables;
class Model;
}  // namespace uniscale::model

namespace uniscale::train {

struct NamedState;

// Everything that decides a run.
struct RunSpec {
  Options options;
  dataset::Options dataset;
  model::Options model;
  std::vector<feature::FeatureOptions> features;
  std::vector<feature::TokenOptions> tokens;
  schema::LogSchema schema;
  std::vector<schema::SequenceOptions> sequences;
  int64_t history_length = 50;
  std::string resolved_config;
  int threads = 0;
};

// A line for people: step, rates, loss; printed by cli.
using Progress = std::function<void(const std::string& line)>;

// The weights of a run: at the end of training, or read from a checkpoint.
struct TrainedModel {
  TrainedModel();
  ~TrainedModel();
  TrainedModel(TrainedModel&&) noexcept;
  TrainedModel& operator=(TrainedModel&&) noexcept;

  std::unique_ptr<feature::FeatureSpec> spec;
  std::unique_ptr<model::EmbeddingTables> tables;
  std::unique_ptr<model::Model> model;
  int64_t step = 0;
  std::string sample_fingerprint;
  bool interrupted = false;  // stopped by `stop` after a checkpoint

  // Tables as "table.<name>", then dense parameters.
  std::vector<NamedState> weights() const;
};

// Trains from scratch, or from the newest checkpoint in options.output if `resume`. When `stop` becomes true:
// checkpoint, return. Throws UserError (bad options, samples that differ from the checkpoint's), and on the
// first non-finite value a UserError naming step, tensor and features, after the batch was dumped.
TrainedModel train(const RunSpec& run, bool resume, const std::atomic<bool>& stop, const Progress& progress);

// Folder of the newest complete checkpoint below a run's output folder.
std::optional<std::string> newest_checkpoint(const std::string& output);
// Reads a checkpoint folder.
TrainedModel load_checkpoint(const std::string& folder, const model::Options& options);

}  // namespace uniscale::train
