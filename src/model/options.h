// `[model]`: which architecture, how wide.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace uniscale::model {

struct Options {
  std::string architecture = "dlrm_mlp";
  std::vector<std::string> domains;                        // empty: the search domain alone
  std::vector<std::string> tasks = {"click", "purchase"};  // "click" first
  int64_t token_dim = 32;                                  // D
  std::vector<int64_t> trunk = {256, 128};
  std::vector<int64_t> head = {64};
  int64_t init_seed = 1;
  double embedding_init_stddev = 0.01;
};
const config::Section<Options>& section();

// Options resolved against the log schema's search domain; throws UserError on a bad combination.
std::vector<std::string> resolve_domains(const Options& options, const std::string& search_domain);
void check_options(const Options& options);

}  // namespace uniscale::model
