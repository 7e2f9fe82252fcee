// The query most similar to a title (es3.md §4, tier 3), behind one interface: exact by default, approximate
// for large query banks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/similarity.h"

namespace uniscale::es3 {

class QueryIndex {
 public:
  struct Found {
    int32_t query = 0;  // in the bank
    double similarity = 0;
  };
  virtual ~QueryIndex() = default;
  // The query with the largest cosine that is at least `floor`; ties: the smaller bytes, which stand first in
  // the bank. Thread-safe; `scratch` belongs to the caller's thread.
  struct Scratch {
    std::vector<int64_t> dots;     // by query; 0 between calls
    std::vector<int32_t> touched;  // of `dots`
  };
  virtual std::optional<Found> nearest(const text::NgramVector& title, double floor,
                                       Scratch& scratch) const = 0;
};

// Exact, by posting lists: counts are added up for the queries that share an n-gram with the title. `bank`
// sorted by bytes; it outlives the index.
std::unique_ptr<const QueryIndex> make_exact_query_index(const std::vector<std::string_view>& bank,
                                                         uint64_t hash_seed);

}  // namespace uniscale::es3
