// A file of scores for `uniscale eval --scores`: CSV or Parquet with user_id, label, score and optionally
// request_id, weight, domain.
#pragma once

#include <map>
#include <string>

#include "eval/report.h"

namespace uniscale::cli {

// By domain; everything under "" too. Throws UserError naming file, row and column.
std::map<std::string, eval::Input> read_score_file(const std::string& path);

}  // namespace uniscale::cli
