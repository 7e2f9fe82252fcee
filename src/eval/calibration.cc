#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/metrics.h"

namespace uniscale::eval {
namespace {

void require_rows(std::span<const float> probabilities, std::span<const uint8_t> labels) {
  US_CHECK(probabilities.size() == labels.size(), "one label a score");
  require_finite(probabilities);
}

// Rows sorted by (probability, label): sums over them do not depend on the rows' order.
std::vector<std::pair<float, uint8_t>> sorted_rows(std::span<const float> probabilities,
                                                   std::span<const uint8_t> labels) {
  std::vector<std::pair<float, uint8_t>> rows(probabilities.size());
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = {probabilities[i], labels[i] != 0 ? uint8_t{1} : uint8_t{0}};
  std::sort(rows.begin(), rows.end());
  return rows;
}

template <class Loss>
Metric mean_loss(std::span<const float> probabilities, std::span<const uint8_t> labels, Loss loss) {
  require_rows(probabilities, labels);
  if (probabilities.empty()) return {.reason = "no rows"};
  double sum = 0;
  for (const auto& [p, y] : sorted_rows(probabilities, labels)) sum += loss(static_cast<double>(p), y != 0);
  return {.value = sum / static_cast<double>(probabilities.size())};
}

}  // namespace

Metric log_loss(std::span<const float> probabilities, std::span<const uint8_t> labels) {
  return mean_loss(probabilities, labels, [](double p, bool y) {
    const double clipped = std::clamp(p, 1e-12, 1.0 - 1e-12);
    return -std::log(y ? clipped : 1.0 - clipped);
  });
}

Metric brier(std::span<const float> probabilities, std::span<const uint8_t> labels) {
  return mean_loss(probabilities, labels,
                   [](double p, bool y) { return (p - (y ? 1.0 : 0.0)) * (p - (y ? 1.0 : 0.0)); });
}

Metric pcoc(std::span<const float> probabilities, std::span<const uint8_t> labels) {
  require_rows(probabilities, labels);
  double predicted = 0;
  int64_t observed = 0;
  for (const auto& [p, y] : sorted_rows(probabilities, labels)) {
    predicted += p;
    observed += y;
  }
  if (observed == 0) return {.reason = "no positive"};
  return {.value = predicted / static_cast<double>(observed)};
}

Metric ece(std::span<const float> probabilities, std::span<const uint8_t> labels, int num_bins) {
  require_rows(probabilities, labels);
  if (probabilities.empty()) return {.reason = "no rows"};
  const auto rows = sorted_rows(probabilities, labels);
  const auto n = static_cast<double>(rows.size());
  double error = 0;
  size_t begin = 0;
  for (int bin = 1; bin <= num_bins && begin < rows.size(); ++bin) {
    size_t end = std::max(begin + 1, static_cast<size_t>(std::llround(n * bin / num_bins)));
    while (end < rows.size() && rows[end].first == rows[end - 1].first)
      ++end;  // equal probabilities share a bin
    end = std::min(end, rows.size());
    double predicted = 0, observed = 0;
    for (size_t i = begin; i < end; ++i) {
      predicted += rows[i].first;
      observed += rows[i].second;
    }
    error += std::abs(predicted - observed) / n;
    begin = end;
  }
  return {.value = error};
}

}  // namespace uniscale::eval
