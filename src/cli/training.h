// The configuration as the trainer wants it.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "cli/run_config.h"
#include "train/trainer.h"

namespace uniscale::cli {

train::RunSpec run_spec_of(const RunConfig& config, int64_t threads);

}  // namespace uniscale::cli
