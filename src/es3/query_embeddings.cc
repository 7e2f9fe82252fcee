#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "es3/query_index.h"
#include "table/parquet.h"

namespace uniscale::es3 {

QueryEmbeddings::QueryEmbeddings(const std::string& file, const std::vector<std::string_view>& bank) {
  if (file.empty()) return;
  std::vector<std::pair<int32_t, std::vector<float>>> found;
  const table::ParquetReader reader(file);
  for (int group = 0; group < reader.num_row_groups(); ++group) {
    const table::Table rows = reader.read_row_group(group, {"query", "embedding"});
    const table::Column& query = rows.require("query", table::Type::String, file);
    const table::Column& embedding = rows.require("embedding", table::Type::List, file);
    US_REQUIRE(embedding.child(0).type() == table::Type::Float,
               fmt::format("{}: embedding: expected a list of float, got a list of {}", file,
                           table::type_name(embedding.child(0).type())));
    const auto values = embedding.child(0).floats();
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      if (!embedding.is_valid(i) || embedding.list_begin(i) == embedding.list_end(i)) continue;
      const auto row = values.subspan(static_cast<size_t>(embedding.list_begin(i)),
                                      static_cast<size_t>(embedding.list_end(i) - embedding.list_begin(i)));
      if (length_ == 0) length_ = row.size();
      US_REQUIRE(row.size() == length_,
                 fmt::format("{}: embedding: expected {} values as in the first row, got {} for query \"{}\"",
                             file, length_, row.size(), query.string(i)));
      const auto place = std::lower_bound(bank.begin(), bank.end(), query.string(i));
      if (place == bank.end() || *place != query.string(i)) continue;
      found.emplace_back(static_cast<int32_t>(place - bank.begin()),
                         std::vector<float>(row.begin(), row.end()));
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [query, row] : found) {
    if (!queries_.empty() && queries_.back() == query) continue;
    double squared = 0;
    for (const float value : row) squared += static_cast<double>(value) * value;
    US_REQUIRE(std::isfinite(squared), fmt::format("{}: embedding: expected finite values, got others for "
                                                   "query \"{}\"",
                                                   file, bank[static_cast<size_t>(query)]));
    if (squared == 0) continue;
    queries_.push_back(query);
    squared_norms_.push_back(squared);
    rows_.insert(rows_.end(), row.begin(), row.end());
  }
}

std::optional<QueryIndex::Found> QueryEmbeddings::nearest(std::span<const float> embedding,
                                                          double floor) const {
  double norm = 0;
  for (const float value : embedding) norm += static_cast<double>(value) * value;
  if (norm == 0 || embedding.size() != length_) return std::nullopt;
  std::optional<QueryIndex::Found> best;
  for (size_t i = 0; i < queries_.size(); ++i) {
    double product = 0;
    const float* row = rows_.data() + i * length_;
    for (size_t k = 0; k < length_; ++k) product += static_cast<double>(row[k]) * embedding[k];
    const double similarity = product / std::sqrt(norm * squared_norms_[i]);
    // The first of equals has the smaller bytes.
    if (similarity >= floor && (!best || similarity > best->similarity))
      best = QueryIndex::Found{queries_[i], similarity};
  }
  return best;
}

}  // namespace uniscale::es3
