// Bootstrap over units (users): a unit is drawn with all its rows or not at all. Resample r is the stream
// (seed, r), so values depend neither on threads nor on row order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace uniscale::eval {

class Bootstrap {
 public:
  // How often each of `num_units` units was drawn, for every resample: num_units draws with replacement.
  Bootstrap(size_t num_units, int num_resamples, uint64_t seed, int num_threads);

  int num_resamples() const { return num_resamples_; }

  // Σ count · numerator over Σ count · denominator: [num_units] each, summed in unit order. No value where
  // the denominator is 0.
  std::vector<std::optional<double>> ratios(std::span<const double> numerators,
                                            std::span<const double> denominators) const;

  // Tie-corrected AUC of the resampled rows: one sort, then a pass per eight resamples, in exact integers.
  // `units` [n]: unit of a row.
  std::vector<std::optional<double>> aucs(std::span<const float> scores, std::span<const uint8_t> labels,
                                          std::span<const uint32_t> units) const;

 private:
  static constexpr int kLanes = 8;
  // Counts of resamples [8·block, 8·block + 8) of a unit stand together: [blocks][units][lanes].
  const uint16_t* counts(size_t block) const { return counts_.data() + block * num_units_ * kLanes; }

  size_t num_units_;
  int num_resamples_;
  int num_threads_;
  std::vector<uint16_t> counts_;
};

}  // namespace uniscale::eval
