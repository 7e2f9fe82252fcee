// One evaluation: every metric with its convention, groups and bootstrap interval, as a table and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/metrics.h"
#include "json/json.h"

namespace uniscale::eval {

// One row a candidate. `requests` empty: no ranking metrics; `weights` empty: none.
struct Input {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint64_t> users;
  std::vector<uint64_t> requests;
  std::vector<double> weights;
};

struct Options {
  std::vector<int> ks = {1, 5, 10};
  int64_t resamples = 200;  // by user; 0: no intervals
  uint64_t seed = 1;
  std::string as;  // "", torcheasyrec, fuxictr, recbole, xgboost: that peer's convention instead
};

struct Line {
  std::string key;  // "gauc@impr", "hr@5"
  Metric metric;
  std::optional<double> low, high;  // 95 % interval
};

struct Report {
  int64_t rows = 0, positives = 0, users = 0, requests = 0;
  int64_t resamples = 0;
  std::vector<Line> lines;

  const Line* find(std::string_view key) const;
};

// Throws UserError (a score that is not finite, an unknown peer).
Report evaluate(const Input& input, const Options& options);
// Paired difference a − b of two score vectors over the same rows, by the same resamples; lines are named as
// in `evaluate`.
Report compare(const Input& input, const std::vector<float>& other_scores, const Options& options);

std::string table(const Report& report, const std::string& title);
json::Value to_json(const Report& report);

}  // namespace uniscale::eval
