#include "serve/chunk.h"

#include "base/error.h"

namespace uniscale::serve {
namespace {

void slice(const feature::IdColumn& from, size_t begin, size_t end, feature::IdColumn& to) {
  to.offsets.clear();
  if (from.offsets.empty()) {
    to.ids.assign(from.ids.begin() + static_cast<ptrdiff_t>(begin),
                  from.ids.begin() + static_cast<ptrdiff_t>(end));
    return;
  }
  const int32_t first = from.offsets[begin];
  for (size_t row = begin; row <= end; ++row) to.offsets.push_back(from.offsets[row] - first);
  to.ids.assign(from.ids.begin() + first, from.ids.begin() + from.offsets[end]);
}

}  // namespace

void slice_candidates(const feature::RequestBatch& batch, const feature::FeatureSpec& spec, int32_t begin,
                      int32_t end, feature::RequestBatch& out) {
  US_CHECK(batch.num_requests == 1 && 0 <= begin && begin <= end && end <= batch.num_candidates(),
           "a range outside the request");
  out.num_requests = 1;
  out.candidate_offsets = {0, end - begin};
  out.domain = batch.domain;
  out.ids.resize(batch.ids.size());
  out.floats.resize(batch.floats.size());
  for (const feature::Feature& feature : spec.features()) {
    const bool is_candidate = feature.side == feature::Side::Candidate;
    const auto first = static_cast<size_t>(is_candidate ? begin : 0),
               last = static_cast<size_t>(is_candidate ? end : 1);
    const auto slot = static_cast<size_t>(feature.slot);
    if (feature.has_ids) {
      slice(batch.ids[slot], first, last, out.ids[slot]);
      continue;
    }
    const auto& from = batch.floats[slot];
    const auto width = static_cast<size_t>(from.width);
    out.floats[slot].width = from.width;
    out.floats[slot].values.assign(from.values.begin() + static_cast<ptrdiff_t>(first * width),
                                   from.values.begin() + static_cast<ptrdiff_t>(last * width));
  }
}

}  // namespace uniscale::serve
