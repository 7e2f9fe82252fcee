// Rows of sample files as raw requests, for golden requests.
#pragma once

#include <cstdint>
#include <vector>

#include "dataset/dataset.h"
#include "runtime/raw_request.h"
#include "schema/log_schema.h"

namespace uniscale::train {

// The first `count` search requests of the last day of `options`, all their values explicit.
std::vector<runtime::RawRequest> sample_requests(const dataset::Options& options,
                                                 const schema::LogSchema& schema,
                                                 const std::vector<schema::SequenceOptions>& sequences,
                                                 int64_t count);

}  // namespace uniscale::train
