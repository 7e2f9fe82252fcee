// A fixed pool of threads and one loop over it. Results never depend on the number of threads: work is
// identified by its index, and callers write to slots by index.
#pragma once

#include <cstdint>
#include <functional>

namespace uniscale::base {

// `requested` if positive, else the number of CPUs this process may use.
int resolve_num_threads(int64_t requested);

// Calls body(index) for every index in [0, count) on up to `num_threads` threads, the calling one included;
// blocks until all are done. If bodies throw, the exception of the smallest failed index is rethrown after
// the rest has stopped.
void parallel_for(int num_threads, int64_t count, const std::function<void(int64_t)>& body);

}  // namespace uniscale::base
