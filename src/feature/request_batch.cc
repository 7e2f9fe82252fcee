#include "feature/request_batch.h"

#include <fmt/format.h>

#include "base/error.h"
#include "feature/feature_spec.h"

namespace uniscale::feature {
namespace {

void check_offsets(const std::vector<int32_t>& offsets, size_t rows, size_t end, const std::string& what) {
  US_CHECK(offsets.size() == rows + 1, fmt::format("{}: {} offsets for {} rows", what, offsets.size(), rows));
  US_CHECK(offsets.front() == 0 && static_cast<size_t>(offsets.back()) == end,
           what + ": offsets do not span the values");
  for (size_t i = 1; i < offsets.size(); ++i) US_CHECK(offsets[i - 1] <= offsets[i], what + ": offsets fall");
}

}  // namespace

void check_batch(const RequestBatch& batch, const FeatureSpec& spec) {
  const auto requests = static_cast<size_t>(batch.num_requests);
  US_CHECK(!batch.candidate_offsets.empty(), "candidate_offsets is empty");
  const auto candidates = static_cast<size_t>(batch.num_candidates());
  check_offsets(batch.candidate_offsets, requests, candidates, "candidate_offsets");
  US_CHECK(batch.domain.size() == requests, "domain: one a request");
  for (int32_t domain : batch.domain) {
    US_CHECK(domain >= 0 && static_cast<size_t>(domain) < spec.domains().size(), "domain out of range");
  }
  US_CHECK(batch.ids.size() == static_cast<size_t>(spec.num_id_slots()), "ids: one column a slot");
  US_CHECK(batch.floats.size() == static_cast<size_t>(spec.num_float_slots()), "floats: one column a slot");
  for (const Feature& feature : spec.features()) {
    const size_t rows = feature.side == Side::Request ? requests : candidates;
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      US_CHECK(batch.floats[slot].values.size() == rows * static_cast<size_t>(feature.dim),
               feature.name + ": wrong number of values");
      continue;
    }
    const IdColumn& column = batch.ids[slot];
    if (feature.kind == Kind::Text || feature.kind == Kind::Sequence) {
      check_offsets(column.offsets, rows, column.ids.size(), feature.name);
    } else {
      US_CHECK(column.offsets.empty() && column.ids.size() == rows, feature.name + ": one id a row");
    }
    const int64_t num_rows = spec.tables()[static_cast<size_t>(feature.table)].num_rows;
    for (int32_t id : column.ids) US_CHECK(id >= 0 && id < num_rows, feature.name + ": id out of range");
  }
}

}  // namespace uniscale::feature
