#include "serve/feature_missing.h"

#include <algorithm>

namespace uniscale::serve {

std::vector<std::pair<std::string, int64_t>> missing_features(const feature::FeatureSpec& spec,
                                                              const feature::RequestBatch& batch) {
  std::vector<std::pair<std::string, int64_t>> out;
  for (const feature::Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    int64_t missing = 0;
    if (!feature.has_ids) {
      if (feature.kind != feature::Kind::Numeric) continue;
      const feature::FloatColumn& column = batch.floats[slot];
      for (size_t i = 1; i < column.values.size(); i += 2) missing += column.values[i] != 0 ? 1 : 0;
    } else if (const feature::IdColumn& column = batch.ids[slot]; column.offsets.empty()) {
      missing = std::count(column.ids.begin(), column.ids.end(), 0);
    } else {
      for (size_t row = 0; row + 1 < column.offsets.size(); ++row)
        missing += column.offsets[row] == column.offsets[row + 1] ? 1 : 0;
    }
    if (missing > 0) out.emplace_back(feature.name, missing);
  }
  return out;
}

}  // namespace uniscale::serve
