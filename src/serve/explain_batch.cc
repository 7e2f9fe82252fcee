#include "serve/explain_batch.h"

#include <algorithm>

#include "base/error.h"

namespace uniscale::serve {
namespace {

void copy_row(const feature::IdColumn& from, size_t row, bool is_missing, feature::IdColumn& to) {
  to.ids.clear();
  to.offsets.clear();
  if (from.offsets.empty()) {
    to.ids.push_back(is_missing ? 0 : from.ids[row]);
    return;
  }
  if (!is_missing)
    to.ids.assign(from.ids.begin() + from.offsets[row], from.ids.begin() + from.offsets[row + 1]);
  to.offsets = {0, static_cast<int32_t>(to.ids.size())};
}

void copy_row(const feature::FloatColumn& from, size_t row, bool is_missing, bool is_number,
              feature::FloatColumn& to) {
  to.width = from.width;
  const auto width = static_cast<size_t>(from.width);
  to.values.assign(from.values.begin() + static_cast<ptrdiff_t>(row * width),
                   from.values.begin() + static_cast<ptrdiff_t>((row + 1) * width));
  if (!is_missing) return;
  std::fill(to.values.begin(), to.values.end(), 0.0F);
  if (is_number) to.values[1] = 1.0F;  // [value, is_missing]
}

}  // namespace

void explain_batch(const feature::RequestBatch& batch, const feature::FeatureSpec& spec, int32_t place,
                   int without, feature::RequestBatch& out) {
  US_CHECK(batch.num_requests == 1 && 0 <= place && place < batch.num_candidates(),
           "a place outside the list");
  out.num_requests = 1;
  out.candidate_offsets = {0, 1};
  out.domain = batch.domain;
  out.ids.resize(batch.ids.size());
  out.floats.resize(batch.floats.size());
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const bool is_missing = static_cast<int>(t) == without;
    for (int f : spec.tokens()[t].features) {
      const feature::Feature& feature = spec.features()[static_cast<size_t>(f)];
      const auto row = static_cast<size_t>(feature.side == feature::Side::Candidate ? place : 0);
      const auto slot = static_cast<size_t>(feature.slot);
      if (feature.has_ids) {
        copy_row(batch.ids[slot], row, is_missing, out.ids[slot]);
      } else {
        copy_row(batch.floats[slot], row, is_missing, feature.kind == feature::Kind::Numeric,
                 out.floats[slot]);
      }
    }
  }
}

}  // namespace uniscale::serve
