// HHSFT, preset `base`, with random weights: 24 tokens of which 12 on the request side, 3 domains; a request
// with history, query and 1,000 candidates whose values lie in the bundle's tables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "runtime/ranker.h"
#include "runtime/raw_request.h"

namespace uniscale::bench {

inline constexpr int kMostCandidates = 1000;

// Publishes a bundle to `repository`; returns its directory. `width`: of HFA and of composite tokens.
std::string publish_base_model(const std::string& repository, int64_t width);

// The same with golden requests, so that a server takes it.
std::string publish_served_model(const std::string& repository, int64_t width);

// The first `num_candidates` items for one user and query.
runtime::RawRequest make_request(int num_candidates);
std::vector<runtime::SequenceRule> make_sequences();

// What each token's MLP reads, for rivals that start there: safetensors `input.<token>` [rows, in], and
// `logit.click` [C].
void write_inputs(const bundle::Bundle& bundle, const feature::FeatureSpec& spec,
                  const feature::RequestBatch& batch, const std::vector<float>& logits,
                  const std::string& path);

}  // namespace uniscale::bench
