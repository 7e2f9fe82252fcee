// Which features are fields of the same behaviour events: those of kind `sequence` whose source is
// `history.<name>.…`, or `query_history`, a sequence of its own.
#pragma once

#include <string>
#include <vector>

#include "feature/feature_spec.h"

namespace uniscale::feature {

struct EventSequence {
  std::string name;           // "clicks" of history.clicks.item_id
  std::vector<int> features;  // indices into FeatureSpec::features(), in the order of the spec
  int64_t max_length = 0;     // events kept
  int64_t width = 0;          // embeddings of all fields side by side
};

// In the order of the spec. Throws UserError if fields of one sequence keep different numbers of events.
std::vector<EventSequence> event_sequences(const FeatureSpec& spec);

}  // namespace uniscale::feature
