// A file of scores for `uniscale eval --scores`: CSV or Parquet with user_id, label, score and optionally
// request_id, weight, domain, origin. Rows count from 0, blank lines not counted.
#pragma once

#include <string>

#include "eval/report.h"

namespace uniscale::cli {

// Throws UserError naming file, row and column.
eval::Input read_score_file(const std::string& path);

// Throws UserError naming the first row in which the two hold another user, request or label.
void require_same_rows(const eval::Input& a, const eval::Input& b, const std::string& path_of_b);

}  // namespace uniscale::cli
