// The samples of one (day, bucket) while the stages work on them: which candidates enter and which labels
// they carry, as indices into the bucket's logs. The stages, in order:
//
//   expose (§1) ► add_unexposed (§2) ► add_attributed (§3) ► searchify (§4) ► merge ► pack (§5, §6)
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "es3/bucket_logs.h"
#include "es3/native.h"
#include "schema/sample.h"

namespace uniscale::es3 {

// Candidates of one origin, row after row: those of row i are candidates[offsets[i] … offsets[i + 1]), in
// list order.
struct ItemLists {
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> candidates;
  int64_t count(size_t row) const { return offsets[row + 1] - offsets[row]; }
};

// A label that is 1; every other label is 0.
struct Label {
  int32_t row = 0;
  int32_t candidate = 0;
  schema::Task task = schema::Task::Click;
  schema::LabelSource source = schema::LabelSource::Native;
  schema::Origin origin = schema::Origin::Exposed;
  std::string_view domain;
  int64_t delay_ms = 0;
  float weight = 1;
};

// A search request, or a searchified request of another domain.
struct DraftRow {
  int32_t request = 0;  // in BucketLogs::requests
  std::string_view request_id;
  std::string_view query;  // data() null = null
  schema::QueryTier tier = schema::QueryTier::None;
  float query_score = 0;  // where there is a tier
  float zero_weight = 1;  // of labels that are 0
};

struct Draft {
  std::vector<DraftRow> rows;      // in the order of the file: (ts_ms, request_id, user_id)
  std::array<ItemLists, 4> items;  // by Origin
  std::vector<Label> labels;       // by (row, candidate, task)
  int64_t num_joined = 0;          // undrawn candidates that attribution brought in
  std::deque<std::string> texts;   // request ids of searchified requests
};

// The order of rows in a file: by (ts_ms, request_id, user_id).
bool row_less(const BucketLogs& logs, const DraftRow& a, const DraftRow& b);

// §1: the search requests of the day, their exposed candidates, their native labels with closure.
Draft expose(const BucketLogs& logs, const DayRanges& ranges, std::string_view search_domain,
             const NativeStage& native);

// floor(x + 0.5), as everywhere.
int64_t round_half_up(double value);
// k of §2.
int64_t num_to_draw(const Options& options, int64_t num_exposed, int64_t num_unexposed);
// Appends the unexposed candidates of one request that §2 draws, rising.
class UnexposedDraw {
 public:
  UnexposedDraw(const BucketLogs& logs, const Options& options, uint64_t hash_seed)
      : logs_(logs), options_(options), hash_seed_(hash_seed) {}
  void append(const RequestRow& request, std::vector<int32_t>& drawn);

 private:
  struct Drawable {
    uint64_t hash;
    int32_t candidate;
    float score;
    bool has_score;
  };
  const BucketLogs& logs_;
  const Options& options_;
  uint64_t hash_seed_;
  std::vector<Drawable> pool_;
};
// §2: draws unexposed candidates.
void add_unexposed(const BucketLogs& logs, const Options& options, uint64_t hash_seed, Draft& draft);

// Closure: purchase ⇒ click, cart ⇒ click.
bool implies(Action action, schema::Task task);

// One draft of the rows of both, each in the order of the file.
Draft merge(const BucketLogs& logs, Draft search, Draft cross);

}  // namespace uniscale::es3
