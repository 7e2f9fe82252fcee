// `uniscale eval --model`: a bundle on a sample set.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "eval/report.h"
#include "json/json.h"

namespace uniscale::cli {

struct EvalFlags {
  CommonOptions common;
  std::string scores, against, model, from, to, truth, write_scores, json, as, as_group = "user";
  bool breakdown = false;
  std::vector<int> ks = {1, 5, 10};
  int64_t resamples = 200;
  int64_t seed = 1;
};

// Prints the table and keeps it in `all` under its title.
void print_report(const std::string& title, const eval::Report& report, json::Value& all);
// A report for each domain and each origin of the input.
void print_breakdown(const std::string& title, const eval::Input& input, const eval::Options& options,
                     json::Value& all);

// The evaluation set (docs/metrics.md) beside the shown order; on request the whole sample set by domain and
// origin, and the truth of a synthetic world. Throws UserError.
void evaluate_model(const EvalFlags& flags, const eval::Options& options, json::Value& all);

}  // namespace uniscale::cli
