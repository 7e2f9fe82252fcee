// Exact metrics on spans (docs/metrics.md). Every convention stands in the metric's key; results do not
// depend on row order, batch size or threads: counts are integers, and floating-point sums run over sorted
// values. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace uniscale::eval {

// A metric that may have no value, with the reason ("one class only").
struct Metric {
  std::optional<double> value;
  std::string reason;
  int64_t groups_used = 0;
  int64_t groups_dropped = 0;
};

// Throws UserError naming the first row whose score is NaN or infinite.
void require_finite(std::span<const float> scores);

// Exact, tie-corrected (Mann–Whitney): P(score⁺ > score⁻) + ½ P(=). No value if there is one class only.
Metric auc(std::span<const float> scores, std::span<const uint8_t> labels);
// Each row counts `weights[i]` ≥ 0 times.
Metric weighted_auc(std::span<const float> scores, std::span<const uint8_t> labels,
                    std::span<const double> weights);
// Entire-space AUC against known truth: row i is positive with `probabilities[i]` and negative with the rest.
Metric truth_auc(std::span<const float> scores, std::span<const double> probabilities);

// AUC of one group beside its size.
struct GroupAuc {
  uint64_t group = 0;
  int64_t rows = 0;
  int64_t positives = 0;
  std::optional<double> auc;  // none: one class only
};
// By rising group key.
std::vector<GroupAuc> group_aucs(std::span<const float> scores, std::span<const uint8_t> labels,
                                 std::span<const uint64_t> groups);

enum class GroupWeight { Mean, Impressions, Positives };
Metric gauc(std::span<const GroupAuc> groups, GroupWeight weight);

// Ranking within a request, ties in expectation over all orders of the tied rows. Requests without a positive
// are dropped and counted. `k` may exceed a list's length.
struct RequestRanking {
  uint64_t request = 0;
  uint64_t user = 0;  // of the request's first row by (score, label); requests belong to one user
  bool has_positive = false;
  std::vector<double> hit_rate;  // by k
  std::vector<double> ndcg;      // by k
  double mrr = 0;
};
std::vector<RequestRanking> rank_requests(std::span<const float> scores, std::span<const uint8_t> labels,
                                          std::span<const uint64_t> requests, std::span<const uint64_t> users,
                                          std::span<const int> ks);

// Probabilities are clipped to [1e-12, 1 − 1e-12] for the logarithm only.
Metric log_loss(std::span<const float> probabilities, std::span<const uint8_t> labels);
Metric brier(std::span<const float> probabilities, std::span<const uint8_t> labels);
// Predicted over observed positives; no value without a positive.
Metric pcoc(std::span<const float> probabilities, std::span<const uint8_t> labels);
// 15 bins of equal mass over the sorted probabilities; rows of equal probability share a bin.
Metric ece(std::span<const float> probabilities, std::span<const uint8_t> labels, int num_bins = 15);
// For progress lines: nullopt if there is one class only or a score is not finite.
std::optional<double> window_auc(std::span<const float> scores, std::span<const uint8_t> labels);

}  // namespace uniscale::eval
