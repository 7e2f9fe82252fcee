#include "feature/event_sequences.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::feature {
namespace {

// Empty if the feature is no sequence of events.
std::string sequence_of(const Feature& feature) {
  if (feature.kind != Kind::Sequence) return "";
  if (feature.source == "query_history") return feature.source;
  const size_t begin = feature.source.find('.') + 1;
  return feature.source.substr(begin, feature.source.rfind('.') - begin);
}

}  // namespace

std::vector<EventSequence> event_sequences(const FeatureSpec& spec) {
  std::vector<EventSequence> sequences;
  for (size_t f = 0; f < spec.features().size(); ++f) {
    const Feature& feature = spec.features()[f];
    const std::string name = sequence_of(feature);
    if (name.empty()) continue;
    auto at = std::find_if(sequences.begin(), sequences.end(),
                           [&](const EventSequence& one) { return one.name == name; });
    if (at == sequences.end())
      at = sequences.insert(sequences.end(), EventSequence{.name = name, .max_length = feature.max_length});
    US_REQUIRE(feature.max_length == at->max_length,
               fmt::format("model.architecture: onetrans reads the fields of an event together; feature "
                           "\"{}\": expected max_length {} as the others of {}, got {}",
                           feature.name, at->max_length, name, feature.max_length));
    at->features.push_back(static_cast<int>(f));
    at->width += feature.dim;
  }
  return sequences;
}

}  // namespace uniscale::feature
