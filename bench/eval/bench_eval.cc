// CPU seconds of exact AUC and grouped AUC over 10 M rows in 200 k groups. Before anything is timed, both
// must equal their all-pairs twins on 4,000 rows, and keep every bit when the rows are reversed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "eval/metrics.h"
#include "eval/reference.h"

namespace {

using namespace uniscale;

struct Rows {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint64_t> groups;

  Rows(size_t n, uint64_t num_groups) : scores(n), labels(n), groups(n) {
    base::RandomStream random(1, 2);
    for (size_t i = 0; i < n; ++i) {
      // Rows of a group are scattered: the worst order for the grouping.
      groups[i] = base::mix64(random.below(num_groups));
      labels[i] = random.bernoulli(0.05) ? 1 : 0;
      const double logit = -3 + random.uniform() * 4 + (labels[i] != 0 ? 0.7 : 0);
      scores[i] = static_cast<float>(1 / (1 + std::exp(-logit)));
    }
  }
  void reverse() {
    std::reverse(scores.begin(), scores.end());
    std::reverse(labels.begin(), labels.end());
    std::reverse(groups.begin(), groups.end());
  }
  double auc() const { return eval::auc(scores, labels).value.value(); }
  double gauc() const {
    return eval::gauc(eval::group_aucs(scores, labels, groups), eval::GroupWeight::Impressions).value.value();
  }
};

bool equals_twin() {
  const Rows rows(4'000, 80);
  std::vector<double> positive, negative;
  for (uint8_t y : rows.labels) {
    positive.push_back(y != 0 ? 1 : 0);
    negative.push_back(y != 0 ? 0 : 1);
  }
  const double auc = eval::reference::pairwise_auc(rows.scores, positive, negative).value();
  const double gauc = eval::reference::pairwise_gauc(rows.scores, rows.labels, rows.groups,
                                                     eval::reference::Weight::Impressions)
                          .value();
  return std::abs(auc - rows.auc()) < 1e-12 && std::abs(gauc - rows.gauc()) < 1e-12;
}

template <class Body>
double median_cpu_s(Body body) {
  constexpr int kRuns = 5;
  std::vector<double> seconds;
  for (int i = 0; i < kRuns; ++i) {
    const double begin = base::process_cpu_seconds();
    body();
    seconds.push_back(base::process_cpu_seconds() - begin);
  }
  std::sort(seconds.begin(), seconds.end());
  fmt::print("runs {:.3f} … {:.3f} CPU s\n", seconds.front(), seconds.back());
  return seconds[kRuns / 2];
}

}  // namespace

int main() {
  if (!equals_twin()) {
    fmt::print("the metrics differ from their all-pairs twins\n");
    return 1;
  }
  Rows rows(10'000'000, 200'000);
  const double auc = rows.auc(), gauc = rows.gauc();
  rows.reverse();
  if (auc != rows.auc() || gauc != rows.gauc()) {
    fmt::print("reversed rows gave another value\n");
    return 1;
  }
  fmt::print("10 M rows, 200 k groups: auc {:.6f}, gauc@impr {:.6f}\n", auc, gauc);
  const double auc_s = median_cpu_s([&] { rows.auc(); });
  const double gauc_s = median_cpu_s([&] { rows.gauc(); });
  fmt::print("bench eval: auc_cpu_s={:.3f} gauc_cpu_s={:.3f}\n", auc_s, gauc_s);
  return 0;
}
