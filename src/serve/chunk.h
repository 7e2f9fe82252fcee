// Part of a request's candidates as a batch of its own.
#pragma once

#include <cstdint>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::serve {

// Candidates [begin, end) of the one request of `batch`, into `out` (emptied first; its memory is reused).
void slice_candidates(const feature::RequestBatch& batch, const feature::FeatureSpec& spec, int32_t begin,
                      int32_t end, feature::RequestBatch& out);

}  // namespace uniscale::serve
