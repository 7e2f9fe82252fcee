#include "model/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace uniscale::model {

const config::Section<Options>& section() {
  static const auto s =
      config::Section<Options>("model", "The ranker")
          .field("architecture", &Options::architecture, "which model",
                 {.choices = {"dlrm_mlp"}, .source = "paper §3.1"})
          .field(
              "domains", &Options::domains,
              "domains that have heads of their own, the search domain first; empty: the search domain alone",
              {.source = "model.md"})
          .field("tasks", &Options::tasks,
                 "what is predicted, click first; cart and purchase are trained as products with click",
                 {.choices = {"click", "cart", "purchase"}, .source = "model.md"})
          .field("token_dim", &Options::token_dim, "width D of a token", {.min = 1, .max = 8192})
          .field("trunk", &Options::trunk, "widths of the trunk's layers", {.min = 1, .max = 65536})
          .field("head", &Options::head, "widths of a head's hidden layers", {.min = 1, .max = 65536})
          .field("init_seed", &Options::init_seed, "seed of the initial weights", {.min = 0})
          .field("embedding_init_stddev", &Options::embedding_init_stddev,
                 "standard deviation of initial embedding rows", {.min = 0, .max = 10});
  return s;
}

std::vector<std::string> resolve_domains(const Options& options, const std::string& search_domain) {
  if (options.domains.empty()) return {search_domain};
  US_REQUIRE(options.domains.front() == search_domain,
             fmt::format("model.domains: expected the search domain \"{}\" first, got \"{}\"", search_domain,
                         options.domains.front()));
  US_REQUIRE(
      std::set<std::string>(options.domains.begin(), options.domains.end()).size() == options.domains.size(),
      "model.domains: a domain is named twice");
  return options.domains;
}

void check_options(const Options& options) {
  US_REQUIRE(!options.tasks.empty() && options.tasks.front() == "click",
             "model.tasks: expected \"click\" first");
  US_REQUIRE(std::set<std::string>(options.tasks.begin(), options.tasks.end()).size() == options.tasks.size(),
             "model.tasks: a task is named twice");
  US_REQUIRE(!options.trunk.empty(), "model.trunk: expected at least one width");
}

}  // namespace uniscale::model
