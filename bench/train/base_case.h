// The case that bench/train times: HHSFT over 24 tokens (12 of the request), 20 categorical features, a
// history of 50 and three dense features, three domains; batches of lists of 50 held in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "model/options.h"

namespace uniscale::bench {

inline constexpr int kListLength = 50;

// Tables of `num_rows` × 16, the history shares the items' one.
feature::FeatureSpec make_spec(int64_t num_rows);

model::Options make_options(const std::string& preset, const std::string& ops, uint64_t seed);

// `num_requests` lists of 50. Ids are skewed as logs are; click labels come from hidden tastes of users' and
// items' ids, so that there is something to learn.
feature::RequestBatch make_batch(const feature::FeatureSpec& spec, int num_requests, uint64_t seed);

}  // namespace uniscale::bench
