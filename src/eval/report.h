// One evaluation: every metric with its convention, groups and bootstrap interval, as a table and as JSON.
// Thread-safe: pure functions. Neither row order nor the number of threads changes a bit of the result.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/metrics.h"
#include "json/json.h"

namespace uniscale::eval {

// Key of a row without a user: its group metrics by user leave the row out and count it; the bootstrap draws
// it with its request.
inline constexpr uint64_t kNoUser = 0;
// Key of a user or request id; an empty user id is kNoUser.
uint64_t row_key(std::string_view id);

// One row a candidate; optional columns are empty or hold a value a row.
struct Input {
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  std::vector<uint64_t> users;
  std::vector<uint64_t> requests;    // optional; without: no ranking metrics
  std::vector<double> weights;       // optional, ≥ 0
  std::vector<double> truths;        // optional: known probability of a positive (synthetic worlds)
  std::vector<std::string> domains;  // optional
  std::vector<std::string> origins;  // optional
};

struct Options {
  std::vector<int> ks = {1, 5, 10};
  int64_t resamples = 200;  // by user; 0: no intervals
  uint64_t seed = 1;
  std::string as;              // "", torcheasyrec, fuxictr, recbole, xgboost: that peer's convention instead
  bool as_by_request = false;  // the peer groups by request, not by user
  int threads = 1;
};

struct Line {
  std::string key;  // "gauc@impr", "hr@5"
  Metric metric;
  std::optional<double> low, high;  // central 95 % of the resampled values
  std::string group;                // "user", "request"; empty: all rows at once
  std::string weight;               // "equal", "impressions", "positives", "column"; empty: rows
  std::string ties;                 // "half", "expectation"; empty: ties do not matter
  std::string note;                 // a peer's convention
};

struct Report {
  int64_t rows = 0, positives = 0, users = 0, requests = 0, rows_without_user = 0;
  int64_t resamples = 0;
  uint64_t seed = 0;
  std::string as;
  bool is_difference = false;
  std::vector<Line> lines;

  const Line* find(std::string_view key) const;
};

// Throws UserError (no rows, a score that is not finite, a truth outside [0, 1], an unknown peer).
Report evaluate(const Input& input, const Options& options);
// Paired difference a − b of two score vectors over the same rows, by the same resamples of users; lines are
// named as in `evaluate`. Metrics without interval in `evaluate` have none here.
Report compare(const Input& input, const std::vector<float>& other_scores, const Options& options);

// The rows of each domain ("domain feed") and each origin ("origin exposed"), where the input has those
// columns. By name.
std::map<std::string, Input> breakdown(const Input& input);
// The chosen rows of every column.
Input select(const Input& input, const std::vector<size_t>& rows);

std::string table(const Report& report, const std::string& title);
json::Value to_json(const Report& report);

}  // namespace uniscale::eval
