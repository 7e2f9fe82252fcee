// The samples of one (day, bucket) while the stages work on them: which candidates enter and which labels
// they carry, as indices into the bucket's logs. The stages, in order:
//
//   expose (§1) ► add_unexposed (§2) ► pack (§5, §6)
//
// Attribution (§3) and searchified requests (§4) stand between §2 and §6: attribution adds labels and undrawn
// candidates to a draft, searchification adds rows of its own.
#pragma once

#include <array>
#include <cstdint>
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

struct Draft {
  std::vector<int32_t> requests;   // in the order of the file: (ts_ms, request_id, user_id)
  std::array<ItemLists, 2> items;  // by Origin: Exposed, Unexposed
  std::vector<Label> labels;       // by (row, candidate, task)
};

// §1: the requests of the day, their exposed candidates, their native labels with closure.
Draft expose(const BucketLogs& logs, const DayRanges& ranges, std::string_view search_domain,
             const NativeStage& native);

// floor(x + 0.5), as everywhere.
int64_t round_half_up(double value);
// k of §2.
int64_t num_to_draw(const Options& options, int64_t num_exposed, int64_t num_unexposed);
// §2: draws unexposed candidates.
void add_unexposed(const BucketLogs& logs, const Options& options, uint64_t hash_seed, Draft& draft);

}  // namespace uniscale::es3
