// The query most similar to an item (es3.md §4, tier 3), behind one interface: exact by default, approximate
// for large query banks. By text: cosine of n-gram counts of title and query. By supplied embeddings, where
// the item and queries have them: cosine of those.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "es3/options.h"
#include "text/similarity.h"

namespace uniscale::es3 {

class QueryIndex {
 public:
  struct Found {
    int32_t query = 0;  // in the bank
    double similarity = 0;
  };
  // Belongs to the caller's thread.
  struct Scratch {
    std::vector<int64_t> dots;     // by query; 0 between calls
    std::vector<int32_t> touched;  // of `dots`
    std::vector<float> point;      // of an approximate search
  };
  virtual ~QueryIndex() = default;
  // The query with the largest cosine that is at least `floor`; ties: the smaller bytes, which stand first in
  // the bank. Thread-safe.
  virtual std::optional<Found> nearest(const text::NgramVector& title, double floor,
                                       Scratch& scratch) const = 0;
};

// Exact, by posting lists: counts are added up for the queries that share an n-gram with the title. `bank`
// sorted by bytes.
std::unique_ptr<const QueryIndex> make_exact_query_index(const std::vector<std::string_view>& bank,
                                                         uint64_t hash_seed);

// Approximate, for banks of millions: n-gram counts folded to 256 signed sums, a graph search (HNSW) for the
// nearest of those, and the exact cosine to choose among them. Built by one thread in the order of the bank,
// so that the same bank gives the same answers.
std::unique_ptr<const QueryIndex> make_approximate_query_index(const std::vector<std::string_view>& bank,
                                                               uint64_t hash_seed);

// Embeddings of queries that the shop supplies: a Parquet file with columns query and embedding (list of
// float, all of one length). Thread-safe once loaded.
class QueryEmbeddings {
 public:
  // No file: no embeddings. Throws UserError naming the file and the column if it is not of that shape.
  // Queries outside `bank` are passed over; of a query given twice the first counts.
  QueryEmbeddings(const std::string& file, const std::vector<std::string_view>& bank);
  // Whether items with an embedding of this length can be answered.
  bool answers(size_t length) const { return length_ > 0 && length == length_; }
  // As QueryIndex::nearest, by exhaustive search.
  std::optional<QueryIndex::Found> nearest(std::span<const float> embedding, double floor) const;

 private:
  size_t length_ = 0;
  std::vector<int32_t> queries_;  // in the bank, rising
  std::vector<float> rows_;       // [queries, length]
  std::vector<double> squared_norms_;
};

// Tier 3 as the options ask for it: by supplied embeddings where they answer, else by the exact or the
// approximate index of `bank`. The build and `why` ask it alike. Thread-safe.
class QuerySearch {
 public:
  QuerySearch(const Options& options, const std::vector<std::string_view>& bank, uint64_t hash_seed);
  // `embedding`: the item's; may be empty.
  std::optional<QueryIndex::Found> nearest(const text::NgramVector& title, std::span<const float> embedding,
                                           QueryIndex::Scratch& scratch) const;

 private:
  const double floor_;
  const std::unique_ptr<const QueryIndex> index_;
  const QueryEmbeddings embeddings_;
};

}  // namespace uniscale::es3
