#include "es3/strays.h"

#include <algorithm>

#include "base/threads.h"

namespace uniscale::es3 {

std::vector<StrayEvent> find_strays(const logstore::LogStore& store, const Options& options,
                                    const DayRanges& ranges, int num_threads) {
  const int num_buckets = store.schema().num_buckets;
  std::vector<std::vector<StrayEvent>> found(static_cast<size_t>(num_buckets));
  base::parallel_for(num_threads, num_buckets, [&](int64_t bucket) {
    const BucketLogs logs = load_bucket_logs(store, ranges, static_cast<int>(bucket), Load::Ids);
    found[static_cast<size_t>(bucket)] = collect_strays(logs, options, ranges, static_cast<int>(bucket));
  });
  std::vector<StrayEvent> strays;
  for (std::vector<StrayEvent>& some : found) {
    strays.insert(strays.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  if (strays.empty()) return strays;
  std::vector<std::vector<StrayMatch>> matches(static_cast<size_t>(num_buckets));
  base::parallel_for(num_threads, num_buckets, [&](int64_t bucket) {
    const BucketLogs logs = load_bucket_logs(store, ranges, static_cast<int>(bucket), Load::Ids);
    matches[static_cast<size_t>(bucket)] =
        match_strays(logs, options, ranges, static_cast<int>(bucket), strays);
  });
  for (const std::vector<StrayMatch>& of_bucket : matches) accept_matches(options, of_bucket, strays);
  std::vector<uint8_t> has_match(static_cast<size_t>(num_buckets), 0);
  for (const StrayEvent& stray : strays) {
    if (stray.bucket >= 0) has_match[static_cast<size_t>(stray.bucket)] = 1;
  }
  base::parallel_for(num_threads, num_buckets, [&](int64_t bucket) {
    if (has_match[static_cast<size_t>(bucket)] == 0) return;
    const BucketLogs logs = load_bucket_logs(store, ranges, static_cast<int>(bucket), Load::Lists);
    judge_strays(logs, options, ranges, static_cast<int>(bucket), strays);
  });
  return strays;
}

}  // namespace uniscale::es3
