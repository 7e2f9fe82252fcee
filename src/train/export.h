// A trained model → a bundle: serving weights, feature spec, item and user tables, golden requests.
#pragma once

#include <string>

#include "train/trainer.h"

namespace uniscale::train {

// Returns the version directory. Golden requests are the first requests of the last training day; their
// scores come from the torch model, and the torch-free runtime must agree within the manifest's tolerance
// before the version is published. `run.options.store` empty: no tables. Throws UserError.
std::string export_bundle(const RunSpec& run, TrainedModel& model);

}  // namespace uniscale::train
