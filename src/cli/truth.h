// The true probabilities that `uniscale synth` writes beside its logs (docs/synth.md), joined to scored rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace uniscale::cli {

struct Truth {
  std::vector<double> click, purchase;  // a probability a row
  int64_t num_candidates = 0;           // of the domain in the truth files of these days, scored or not
  // Null for a task that the world has no truth of.
  const std::vector<double>* of_task(std::string_view task) const;
};

// Truth of the rows (request, item), named by their stable hashes. Throws NotReadyError if a day has no
// truth, UserError if a row has none: then the samples are not of this world.
Truth read_truth(const std::string& store, base::Day from, base::Day to, std::string_view domain,
                 std::span<const uint64_t> request_keys, std::span<const uint64_t> item_keys);

}  // namespace uniscale::cli
