// The records of a spill file in order, whatever their number: what exceeds `run_bytes` is sorted in runs
// that lie on disk and are merged. A Key is made from a record's bytes, holds them as `bytes` and has
// `operator<`; equal keys must have equal bytes, so that the order does not depend on how the records came.
// Not thread-safe for one key.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/spill.h"

namespace uniscale::ingest {

template <class Key>
void for_each_sorted(Spill& spill, const std::string& name, int64_t run_bytes,
                     const std::function<void(const Key&)>& visit) {
  const auto sorted = [](const std::string& bytes) {
    std::vector<Key> rows;
    for (const std::string_view record : split_records(bytes)) rows.emplace_back(record);
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  if (spill.bytes(name) <= run_bytes) {
    const std::string bytes = spill.load(name);
    for (const Key& row : sorted(bytes)) visit(row);
    return;
  }
  std::vector<std::string> runs;
  SpillCursor records(spill, name);
  for (std::string bytes = records.take(run_bytes); !bytes.empty(); bytes = records.take(run_bytes)) {
    runs.push_back(fmt::format("{}-run-{}", name, runs.size()));
    for (const Key& row : sorted(bytes)) spill.append(runs.back(), row.bytes);
  }
  spill.flush();

  struct Head {
    Key key;
    size_t run;
  };
  const auto later = [](const Head& a, const Head& b) {
    return b.key < a.key || (!(a.key < b.key) && a.run > b.run);
  };
  std::priority_queue<Head, std::vector<Head>, decltype(later)> heads(later);
  std::vector<std::unique_ptr<SpillCursor>> cursors;
  const auto advance = [&](size_t run) {
    if (const auto record = cursors[run]->next()) heads.push({Key(*record), run});
  };
  for (size_t run = 0; run < runs.size(); ++run) {
    cursors.push_back(std::make_unique<SpillCursor>(spill, runs[run]));
    advance(run);
  }
  while (!heads.empty()) {
    const Head head = heads.top();
    heads.pop();
    visit(head.key);
    advance(head.run);  // only now: the key points into the cursor's buffer
  }
  cursors.clear();
  for (const std::string& run : runs) spill.remove(run);
}

}  // namespace uniscale::ingest
