// Events that name a request of another user, found over all buckets and settled against its list before the
// buckets are built one by one (es3.md §1: "users need not match").
#pragma once

#include <vector>

#include "es3/native.h"

namespace uniscale::es3 {

// Of the buckets in order, each in the order of `stray_less`.
std::vector<StrayEvent> find_strays(const logstore::LogStore& store, const Options& options,
                                    const DayRanges& ranges, int num_threads);

}  // namespace uniscale::es3
