// Checkpoints: `<output>/checkpoints/step-<12 digits>/{weights,optimizer,window}.safetensors,
// feature_spec.json, config.toml, state.json`, published by rename; a kill leaves the older ones.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "train/optimizers.h"
#include "train/trainer.h"

namespace uniscale::train {

struct CheckpointFiles {
  json::Value state;   // step, cursor, loop state
  std::string config;  // resolved
  json::Value feature_spec;
  std::vector<NamedState> weights;
  std::vector<NamedState> optimizer;
  std::vector<NamedState> window;  // of the metrics, not yet logged
};

// Writes aside, syncs, renames; then removes all but the newest `keep`. A step that stands already is kept as
// it is.
void write_checkpoint(const std::string& output, int64_t step, const CheckpointFiles& files, int64_t keep);
// Copies tensors by name into `targets` (same shapes and types); throws UserError naming what is missing or
// differs.
void read_tensors(const std::string& path, const std::vector<NamedState>& targets);
void write_tensors(const std::string& path, const std::vector<NamedState>& tensors);

}  // namespace uniscale::train
