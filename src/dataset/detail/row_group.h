// One row group of a sample file, encoded: a RequestBatch of all its requests, and which of its candidates
// survive the filters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataset/dataset.h"
#include "table/parquet.h"

namespace uniscale::dataset {

// The options' filters, resolved.
struct Filters {
  explicit Filters(const Options& options);
  bool origin[4];
  bool label_source[6];
  std::vector<std::string> domains;  // empty: all
  bool item_keys;

  bool keeps_domain(std::string_view domain) const;
};

struct CandidateRange {
  int32_t begin;
  int32_t end;
};

struct RowGroup {
  feature::RequestBatch batch;  // every request of the group; labels already filtered by source
  std::vector<std::string> request_id;
  // Kept candidates of request r: ranges[range_offsets[r], range_offsets[r + 1]); none: the request is left
  // out.
  std::vector<CandidateRange> ranges;
  std::vector<int32_t> range_offsets{0};

  int64_t num_rows() const { return batch.num_requests; }
  int32_t num_kept(int64_t row) const;
};

// Throws UserError naming file and column if a feature's column is missing or of another type, or a domain is
// not the model's.
RowGroup read_row_group(const table::ParquetReader& reader, const std::string& path, int row_group,
                        const feature::FeatureSpec& spec, const Filters& filters);

// How many requests of the row group survive the filters, reading as little as possible.
int64_t count_kept(const table::ParquetReader& reader, const std::string& path, int row_group,
                   const Filters& filters);

// Appends request `row` of `group` with its kept candidates to `out`.
void append_request(const RowGroup& group, int64_t row, const feature::FeatureSpec& spec,
                    feature::RequestBatch& out);

// Empties `out` but keeps its memory, with a column for every slot.
void clear_batch(const feature::FeatureSpec& spec, feature::RequestBatch& out);

}  // namespace uniscale::dataset
