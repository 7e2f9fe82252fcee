// Which features the model had to do without.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::serve {

// (feature, rows in which it is missing) of every feature that is missing anywhere: one row on the request
// side, a row a candidate on the other. Missing: no id or id 0, the missing flag of a number, an empty bag.
std::vector<std::pair<std::string, int64_t>> missing_features(const feature::FeatureSpec& spec,
                                                              const feature::RequestBatch& batch);

}  // namespace uniscale::serve
