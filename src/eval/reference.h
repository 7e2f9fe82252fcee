// Slow twins of the metrics, straight from their definitions: all pairs, all orders of tied rows. For tests
// and for the bench's check before it times. Rows must be finite. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace uniscale::eval::reference {

// Row i is positive with weight `positive[i]` and negative with weight `negative[i]`: plain, weighted and
// truth AUC are one sum over pairs. No value if either side weighs nothing.
std::optional<double> pairwise_auc(std::span<const float> scores, std::span<const double> positive,
                                   std::span<const double> negative);

// Weight of a group of `rows` rows with `positives` positives: 1, rows or positives.
enum class Weight { Mean, Impressions, Positives };
// All pairs inside each group; one-class groups left out.
std::optional<double> pairwise_gauc(std::span<const float> scores, std::span<const uint8_t> labels,
                                    std::span<const uint64_t> groups, Weight weight);

// Means over every order of the list that falls in score (tied rows in any order). Lists of up to 8 rows.
struct ListRanking {
  double hit_rate = 0;
  double ndcg = 0;
  double mrr = 0;
};
ListRanking rank_by_enumeration(std::span<const float> scores, std::span<const uint8_t> labels, int k);

}  // namespace uniscale::eval::reference
