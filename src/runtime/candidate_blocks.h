// Candidates are scored in blocks that fit the caches; a block may hold candidates of several requests.
#pragma once

#include <algorithm>
#include <cstdint>

#include "feature/request_batch.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {

struct CandidateBlock {
  int32_t begin = 0, end = 0;           // candidates of the batch
  const int32_t* request_of = nullptr;  // [end − begin]
  int32_t rows() const { return end - begin; }
};

// Calls body(block) for candidates [begin, end), at most `most_rows` at a time, blocks of about one size (a
// multiple of 6, the rows of a kernel's tile).
template <class Body>
void for_each_block(const feature::RequestBatch& batch, int32_t begin, int32_t end, int32_t most_rows,
                    Arena& arena, const Body& body) {
  const ArenaScope scope(arena);
  const int32_t num_blocks = std::max(1, (end - begin + most_rows - 1) / most_rows);
  const int32_t even_rows = (end - begin + num_blocks - 1) / num_blocks;
  const int32_t rows = std::min(most_rows, (even_rows + 5) / 6 * 6);
  auto* request_of = arena.take<int32_t>(most_rows);
  const auto& offsets = batch.candidate_offsets;
  auto request =
      static_cast<int32_t>(std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin()) - 1;
  for (int32_t first = begin; first < end; first += rows) {
    const CandidateBlock block{first, std::min(end, first + rows), request_of};
    for (int32_t c = first; c < block.end; ++c) {
      while (offsets[static_cast<size_t>(request) + 1] <= c) ++request;
      request_of[c - first] = request;
    }
    const ArenaScope block_scope(arena);
    body(block);
  }
}

}  // namespace uniscale::runtime
