// Drafts → the rows of a sample file ① (es3.md §6, docs/formats/samples.md): one row a request, histories
// once, items by (origin, position, item_id). Thread-safety: one Packer a thread; it reads its inputs only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "es3/candidate_items.h"
#include "es3/draft.h"
#include "es3/entity_versions.h"
#include "es3/history.h"
#include "schema/log_schema.h"
#include "table/table.h"

namespace uniscale::es3 {

// Most candidates of one row group, so that a group of long lists stays small in memory.
inline constexpr int64_t kRowGroupItems = 1 << 20;

// Where the row group that begins at `first_row` ends: after `row_group_requests` rows, or before
// kRowGroupItems would be passed; one row at least.
size_t row_group_end(const Draft& draft, size_t first_row, int64_t row_group_requests);

class Packer {
 public:
  // All arguments outlive the Packer. Throws UserError if a declared column has another type in the log
  // store.
  Packer(const schema::LogSchema& schema, const std::vector<schema::SequenceOptions>& sequences,
         const BucketLogs& logs, const EntityVersions& items, const EntityVersions& users,
         CandidateItems& candidate_items, bool with_embeddings, size_t max_column_bytes = kMaxColumnBytes);

  // Rows [first_row, last_row). Throws ColumnTooLarge if a string column would exceed max_column_bytes.
  table::Table pack(const Draft& draft, const Histories& histories, size_t first_row, size_t last_row) const;

 private:
  struct Source {
    std::string name;
    table::Type type;
    std::vector<const table::Column*> columns;  // per table that a Ref counts
  };
  static std::vector<Source> sources(const std::vector<schema::DeclaredColumn>& declared,
                                     const std::vector<std::vector<const table::Column*>>& columns);
  table::Column pack_item_ids(std::span<const Ref> candidates, const DistinctRefs& versions) const;
  table::Column pack_items(const Draft& draft, size_t first_row, size_t last_row) const;
  table::Column pack_history(const HistoryList& list, size_t first_row, size_t last_row) const;
  table::Column pack_queries(const HistoryList& list, size_t first_row, size_t last_row) const;
  // With `distinct`, those of `refs`, strings are coded.
  table::Column pack_struct(const std::vector<Source>& sources, std::span<const Ref> refs,
                            const DistinctRefs* distinct = nullptr) const;

  const schema::LogSchema& schema_;
  const std::vector<schema::SequenceOptions>& sequences_;
  const BucketLogs& logs_;
  const EntityVersions& users_;
  CandidateItems& candidate_items_;
  size_t max_column_bytes_;
  std::vector<const table::Column*> item_ids_;
  std::vector<const table::Column*> positions_;
  std::vector<Source> context_;
  std::vector<Source> user_;
  std::vector<Source> candidate_;  // score, declared…
  std::vector<Source> item_;       // title, category, declared…, embedding if asked for
};

// Content hash of the columns of a sample file: two days with one fingerprint have the same columns.
std::string sample_fingerprint(const schema::LogSchema& schema,
                               const std::vector<schema::SequenceOptions>& sequences, bool with_embeddings);

}  // namespace uniscale::es3
