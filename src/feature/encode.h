// Raw values → ids and floats. The one function that dataset and serve both call. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::feature {

// One raw value a row (or, for sequences, `offsets` of rows + 1 into the values). Exactly one of the value
// spans is used, by the feature's value_type: String → strings (data() null = missing), Double → doubles (NaN
// = missing), Int → ints with `ints_valid` (empty = all valid). Vector features: doubles with `offsets`; a
// row of another length than the feature's, or with a value that is not finite, is missing.
struct RawColumn {
  int64_t num_rows = 0;
  std::span<const std::string_view> strings;
  std::span<const double> doubles;
  std::span<const int64_t> ints;
  std::span<const uint8_t> ints_valid;
  std::span<const int32_t> offsets;
};

// Appends num_rows rows to the feature's slot of `batch`. A column with num_rows rows and all spans empty =
// all missing. Categorical: 0 = missing, else 1 + stable_hash(value) mod (buckets − 1); integers by their
// decimal text. Text: NFC, lower-case, white space collapsed (text/normalise.h), n-grams hashed alike, in
// order of appearance, duplicates kept, at most max_length. Sequence: the newest max_length, oldest first.
// Numeric: [transformed, 0] or [0, 1] if missing; non-finite after the transform = missing; bucketise: id 1 +
// number of boundaries ≤ value. Vector: [values…, 0], or [0…, 1] if missing.
void encode(const Feature& feature, const TableSpec* table, const RawColumn& raw, RequestBatch& batch);

}  // namespace uniscale::feature
