#include "runtime/layers/tokenizer.h"

#include <algorithm>
#include <cstring>

namespace uniscale::runtime {

Tokenizer::Tokenizer(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim)
    : spec_(spec), token_dim_(token_dim) {
  for (const feature::TableSpec& table : spec.tables()) {
    tables_.push_back(
        file.require("table." + table.name, bundle::DType::F32, {table.num_rows, table.dim}).f32());
  }
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const int64_t in = spec.token_input_dim(static_cast<int>(t));
    mlps_.emplace_back(file, "token." + spec.tokens()[t].name, std::vector<int64_t>{in, token_dim, token_dim},
                       Activation::Gelu);
    scratch_width_ = std::max(scratch_width_, in + token_dim + 2 * mlps_.back().widest());
  }
}

void Tokenizer::feature_values(const feature::Feature& feature, const feature::RequestBatch& batch,
                               int64_t rows, float* out, int64_t stride) const {
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) {
    const float* values = batch.floats[slot].values.data();
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(out + r * stride, values + r * feature.dim,
                  static_cast<size_t>(feature.dim) * sizeof(float));
    return;
  }
  const feature::IdColumn& column = batch.ids[slot];
  const float* table = tables_[static_cast<size_t>(feature.table)].data();
  for (int64_t r = 0; r < rows; ++r) {
    float* row = out + r * stride;
    if (column.offsets.empty()) {
      std::memcpy(row, table + static_cast<int64_t>(column.ids[static_cast<size_t>(r)]) * feature.dim,
                  static_cast<size_t>(feature.dim) * sizeof(float));
      continue;
    }
    // Mean over the bag; an empty bag is 0.
    std::fill(row, row + feature.dim, 0.0F);
    const int32_t begin = column.offsets[static_cast<size_t>(r)],
                  end = column.offsets[static_cast<size_t>(r) + 1];
    for (int32_t i = begin; i < end; ++i) {
      const float* values = table + static_cast<int64_t>(column.ids[static_cast<size_t>(i)]) * feature.dim;
      for (int64_t d = 0; d < feature.dim; ++d) row[d] += values[d];
    }
    for (int64_t d = 0; d < feature.dim && end > begin; ++d) row[d] /= static_cast<float>(end - begin);
  }
}

void Tokenizer::token(int t, const feature::RequestBatch& batch, int64_t rows, float* out, int64_t stride,
                      int64_t column, float* scratch) const {
  const int64_t in = spec_.token_input_dim(t);
  float* input = scratch;
  float* result = scratch + rows * in;
  int64_t at = 0;
  for (int f : spec_.tokens()[static_cast<size_t>(t)].features) {
    const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
    feature_values(feature, batch, rows, input + at, in);
    at += feature.dim;
  }
  mlps_[static_cast<size_t>(t)](input, rows, result, result + rows * token_dim_);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(out + r * stride + column, result + r * token_dim_,
                static_cast<size_t>(token_dim_) * sizeof(float));
}

}  // namespace uniscale::runtime
