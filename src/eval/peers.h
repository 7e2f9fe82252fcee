// The conventions of other libraries, recomputed so that their numbers can be matched before they are beaten.
// What each does, and where ours may still differ, stands in docs/metrics.md. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/metrics.h"

namespace uniscale::eval {

enum class Peer { TorchEasyRec, FuxiCtr, RecBole, XgBoost };
// "torcheasyrec", "fuxictr", "recbole", "xgboost"; throws UserError for another name.
Peer parse_peer(std::string_view name);
std::string_view peer_name(Peer peer);

struct PeerLine {
  std::string key;  // the peer's own name of the metric
  Metric metric;
  std::string convention;  // what is computed
};

// `groups`: the key that the peer would group by (a user or a request). Rows of a group keep their order: the
// MRR and NDCG of fuxictr and the grouped AUC of xgboost depend on it, as theirs do.
std::vector<PeerLine> recompute(Peer peer, std::span<const float> scores, std::span<const uint8_t> labels,
                                std::span<const uint64_t> groups);

}  // namespace uniscale::eval
