#include "feature/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "text/normalise.h"

namespace uniscale::feature {
namespace {

// The seed of feature ids is fixed: a bundle must encode the same on every machine, whatever the log store's
// hash_seed.
constexpr uint64_t kIdSeed = 0;
// Marks a text's ends in n-grams; not a code point.
constexpr char32_t kBoundary = 0x110000;

int32_t hashed_id(std::string_view value, int64_t num_rows) {
  return static_cast<int32_t>(1 + base::stable_hash(kIdSeed, value) % static_cast<uint64_t>(num_rows - 1));
}

int32_t string_id(std::string_view value, int64_t num_rows) {
  return value.data() == nullptr ? 0 : hashed_id(value, num_rows);
}

int32_t int_id(int64_t value, int64_t num_rows) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return hashed_id({digits.data(), static_cast<size_t>(end - digits.data())}, num_rows);
}

bool int_valid(const RawColumn& raw, size_t i) { return raw.ints_valid.empty() || raw.ints_valid[i] != 0; }

// The number of row i; NaN = missing.
double number_at(const RawColumn& raw, size_t i) {
  if (!raw.doubles.empty()) return raw.doubles[i];
  if (!raw.ints.empty() && int_valid(raw, i)) return static_cast<double>(raw.ints[i]);
  return std::numeric_limits<double>::quiet_NaN();
}

// Appends the ids of values [begin, end), one each.
void append_ids(const RawColumn& raw, int64_t begin, int64_t end, int64_t num_rows,
                std::vector<int32_t>& ids) {
  for (int64_t j = begin; j < end; ++j) {
    const auto i = static_cast<size_t>(j);
    if (!raw.strings.empty()) {
      ids.push_back(string_id(raw.strings[i], num_rows));
    } else if (!raw.ints.empty() && int_valid(raw, i)) {
      ids.push_back(int_id(raw.ints[i], num_rows));
    } else {
      ids.push_back(0);
    }
  }
}

// A jagged slot's offsets start with 0 before its first row.
void begin_jagged(IdColumn& out) {
  if (out.offsets.empty()) out.offsets.push_back(0);
}

void close_row(IdColumn& out) { out.offsets.push_back(static_cast<int32_t>(out.ids.size())); }

void append_word_ids(std::string_view text, int64_t num_rows, int64_t limit, std::vector<int32_t>& ids) {
  for (size_t begin = 0; begin < text.size() && limit > 0; --limit) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    ids.push_back(hashed_id(text.substr(begin, end - begin), num_rows));
    begin = end + 1;
  }
}

void append_ngram_ids(const std::vector<char32_t>& points, int64_t n, int64_t num_rows, int64_t limit,
                      std::vector<int32_t>& ids) {
  std::array<char, 8 * sizeof(char32_t)> bytes;
  const auto length = static_cast<size_t>(n);
  for (size_t i = 0; i + length <= points.size() && limit > 0; ++i, --limit) {
    std::memcpy(bytes.data(), points.data() + i, length * sizeof(char32_t));
    ids.push_back(hashed_id({bytes.data(), length * sizeof(char32_t)}, num_rows));
  }
}

void encode_text(const Feature& feature, int64_t num_rows, const RawColumn& raw, IdColumn& out) {
  begin_jagged(out);
  std::vector<char32_t> points;
  for (int64_t i = 0; i < raw.num_rows; ++i) {
    const std::string_view value =
        raw.strings.empty() ? std::string_view() : raw.strings[static_cast<size_t>(i)];
    if (value.data() != nullptr) {
      const std::string text = text::normalise(value);
      const auto begin = static_cast<int64_t>(out.ids.size());
      for (int64_t n : feature.ngrams) {
        const int64_t left = feature.max_length - (static_cast<int64_t>(out.ids.size()) - begin);
        if (n == 0) {
          append_word_ids(text, num_rows, left, out.ids);
        } else if (!text.empty()) {
          points.assign(1, kBoundary);
          const auto inner = text::code_points(text);
          points.insert(points.end(), inner.begin(), inner.end());
          points.push_back(kBoundary);
          append_ngram_ids(points, n, num_rows, left, out.ids);
        }
      }
    }
    close_row(out);
  }
}

void encode_sequence(const Feature& feature, int64_t num_rows, const RawColumn& raw, IdColumn& out) {
  begin_jagged(out);
  for (int64_t i = 0; i < raw.num_rows; ++i) {
    if (!raw.offsets.empty()) {
      const int64_t end = raw.offsets[static_cast<size_t>(i) + 1];
      const int64_t begin = std::max<int64_t>(raw.offsets[static_cast<size_t>(i)], end - feature.max_length);
      append_ids(raw, begin, end, num_rows, out.ids);
    }
    close_row(out);
  }
}

// Before statistics: log of a negative number is its mirror image, so that every finite value stays finite.
double transformed(const Feature& feature, double value) {
  const bool log = feature.transform == "log" || feature.transform == "log_standardise";
  if (log) value = value >= 0 ? std::log1p(value) : -std::log1p(-value);
  const bool standardise = feature.transform == "standardise" || feature.transform == "log_standardise";
  return standardise ? (value - feature.mean) * feature.inverse_stddev : value;
}

void encode_number(const Feature& feature, const RawColumn& raw, FloatColumn& out) {
  out.width = 2;
  for (int64_t i = 0; i < raw.num_rows; ++i) {
    const auto value = static_cast<float>(transformed(feature, number_at(raw, static_cast<size_t>(i))));
    const bool missing = !std::isfinite(value);
    out.values.push_back(missing ? 0.0F : value);
    out.values.push_back(missing ? 1.0F : 0.0F);
  }
}

void encode_buckets(const Feature& feature, const RawColumn& raw, IdColumn& out) {
  for (int64_t i = 0; i < raw.num_rows; ++i) {
    const double value = number_at(raw, static_cast<size_t>(i));
    const auto above = std::upper_bound(feature.boundaries.begin(), feature.boundaries.end(), value);
    out.ids.push_back(std::isnan(value) ? 0 : static_cast<int32_t>(1 + (above - feature.boundaries.begin())));
  }
}

void encode_vector(const Feature& feature, const RawColumn& raw, FloatColumn& out) {
  out.width = static_cast<int>(feature.dim);
  const int64_t length = feature.dim - 1;  // the last place says whether it is missing
  for (int64_t i = 0; i < raw.num_rows; ++i) {
    const int64_t begin = raw.offsets.empty() ? 0 : raw.offsets[static_cast<size_t>(i)];
    const int64_t end = raw.offsets.empty() ? 0 : raw.offsets[static_cast<size_t>(i) + 1];
    bool missing = end - begin != length;
    for (int64_t j = begin; j < end && !missing; ++j)
      missing = !std::isfinite(static_cast<float>(raw.doubles[static_cast<size_t>(j)]));
    for (int64_t j = 0; j < length; ++j)
      out.values.push_back(missing ? 0.0F : static_cast<float>(raw.doubles[static_cast<size_t>(begin + j)]));
    out.values.push_back(missing ? 1.0F : 0.0F);
  }
}

}  // namespace

void encode(const Feature& feature, const TableSpec* table, const RawColumn& raw, RequestBatch& batch) {
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) {
    if (batch.floats.size() <= slot) batch.floats.resize(slot + 1);
    FloatColumn& out = batch.floats[slot];
    feature.kind == Kind::Vector ? encode_vector(feature, raw, out) : encode_number(feature, raw, out);
    return;
  }
  US_CHECK(table != nullptr, "a feature with ids needs its table");
  if (batch.ids.size() <= slot) batch.ids.resize(slot + 1);
  IdColumn& out = batch.ids[slot];
  switch (feature.kind) {
    case Kind::Categorical:
      append_ids(raw, 0, raw.num_rows, table->num_rows, out.ids);
      return;
    case Kind::Numeric:
      encode_buckets(feature, raw, out);
      return;
    case Kind::Text:
      encode_text(feature, table->num_rows, raw, out);
      return;
    case Kind::Sequence:
      encode_sequence(feature, table->num_rows, raw, out);
      return;
    case Kind::Vector:
      break;
  }
  US_UNREACHABLE();
}

}  // namespace uniscale::feature
