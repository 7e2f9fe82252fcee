#include "runtime/layers/tokenizer.h"

#include <algorithm>
#include <cstring>

namespace uniscale::runtime {

Tokenizer::Tokenizer(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim,
                     Precision precision)
    : spec_(spec), token_dim_(token_dim) {
  for (const feature::TableSpec& table : spec.tables()) {
    tables_.push_back(
        file.require("table." + table.name, bundle::DType::F32, {table.num_rows, table.dim}).f32());
  }
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const int64_t in = spec.token_input_dim(static_cast<int>(t));
    mlps_.emplace_back(file, "token." + spec.tokens()[t].name, std::vector<int64_t>{in, token_dim, token_dim},
                       Activation::Gelu, precision);
    (spec.tokens()[t].side == feature::Side::Request ? request_tokens_ : candidate_tokens_)
        .push_back(static_cast<int>(t));
  }
}

void Tokenizer::feature_values(const feature::Feature& feature, const feature::RequestBatch& batch,
                               int64_t begin, int64_t end, float* out, int64_t stride) const {
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) {
    const float* values = batch.floats[slot].values.data();
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(out + (r - begin) * stride, values + r * feature.dim,
                  static_cast<size_t>(feature.dim) * sizeof(float));
    return;
  }
  const feature::IdColumn& column = batch.ids[slot];
  const float* table = tables_[static_cast<size_t>(feature.table)].data();
  for (int64_t r = begin; r < end; ++r) {
    float* row = out + (r - begin) * stride;
    if (column.offsets.empty()) {
      std::memcpy(row, table + static_cast<int64_t>(column.ids[static_cast<size_t>(r)]) * feature.dim,
                  static_cast<size_t>(feature.dim) * sizeof(float));
      continue;
    }
    // Mean over the bag; an empty bag is 0.
    std::fill(row, row + feature.dim, 0.0F);
    const int32_t first = column.offsets[static_cast<size_t>(r)],
                  last = column.offsets[static_cast<size_t>(r) + 1];
    for (int32_t i = first; i < last; ++i) {
      const float* values = table + static_cast<int64_t>(column.ids[static_cast<size_t>(i)]) * feature.dim;
      for (int64_t d = 0; d < feature.dim; ++d) row[d] += values[d];
    }
    for (int64_t d = 0; d < feature.dim && last > first; ++d) row[d] /= static_cast<float>(last - first);
  }
}

void Tokenizer::operator()(const Compute& compute, feature::Side side, const feature::RequestBatch& batch,
                           int64_t begin, int64_t end, float* x) const {
  const int64_t rows = end - begin;
  for (int t : tokens_of(side)) {
    const ArenaScope scope(compute.arena);
    const int64_t in = spec_.token_input_dim(t);
    auto* values = compute.arena.take<float>(rows * in);
    int64_t at = 0;
    for (int f : spec_.tokens()[static_cast<size_t>(t)].features) {
      const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
      feature_values(feature, batch, begin, end, values + at, in);
      at += feature.dim;
    }
    std::byte* operands = compute.take_operands(rows, in);
    compute.kernels.to_operands(values, rows, in, in, operands, operand_width(in));
    mlps_[static_cast<size_t>(t)](compute, {.data = operands, .num_tokens = 1, .rows = rows, .width = in},
                                  {.data = x, .stride = token_dim_});
    x += rows * token_dim_;
  }
}

double Tokenizer::flops(feature::Side side) const {
  double sum = 0;
  for (int t : tokens_of(side)) sum += mlps_[static_cast<size_t>(t)].flops();
  return sum;
}

}  // namespace uniscale::runtime
