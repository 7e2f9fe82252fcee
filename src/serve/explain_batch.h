// Batches for explanations: one candidate of a request, with a group of features taken away.
#pragma once

#include <cstdint>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::serve {

// Candidate `place` of the one request of `batch` alone, with the features of token `without` missing (−1:
// none), into `out` (emptied first).
void explain_batch(const feature::RequestBatch& batch, const feature::FeatureSpec& spec, int32_t place,
                   int without, feature::RequestBatch& out);

}  // namespace uniscale::serve
