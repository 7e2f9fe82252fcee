#include "runtime/layers/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace uniscale::runtime {

Tokenizer::Tokenizer(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec, int64_t token_dim,
                     Precision precision)
    : spec_(spec), token_dim_(token_dim) {
  for (const feature::TableSpec& table : spec.tables()) {
    tables_.push_back(
        file.require("table." + table.name, bundle::DType::F32, {table.num_rows, table.dim}).f32());
  }
  for (size_t f = 0; f < spec.features().size(); ++f) {
    const feature::Feature& feature = spec.features()[f];
    if (feature.pooling == feature::Pooling::Mean) continue;
    const int64_t in =
        feature.target < 0 ? feature.dim : spec.features()[static_cast<size_t>(feature.target)].dim;
    const std::string name = "pool." + feature.name;
    pool_queries_[static_cast<int>(f)] = {
        file.require(name + ".weight", bundle::DType::F32, {feature.dim, in}).f32(),
        file.require(name + ".bias", bundle::DType::F32, {feature.dim}).f32()};
  }
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    const int64_t in = spec.token_input_dim(static_cast<int>(t));
    mlps_.emplace_back(file, "token." + spec.tokens()[t].name, std::vector<int64_t>{in, token_dim, token_dim},
                       Activation::Gelu, precision);
    (spec.tokens()[t].side == feature::Side::Request ? request_tokens_ : candidate_tokens_)
        .push_back(static_cast<int>(t));
  }
}

void Tokenizer::pool_by_attention(Arena& arena, int index, const feature::RequestBatch& batch, int64_t row,
                                  float* out) const {
  const feature::Feature& feature = spec_.features()[static_cast<size_t>(index)];
  const PoolQuery& query = pool_queries_.at(index);
  const feature::IdColumn& column = batch.ids[static_cast<size_t>(feature.slot)];
  const float* table = tables_[static_cast<size_t>(feature.table)].data();
  const int64_t dim = feature.dim;
  int64_t bag = row;  // the request
  const float* target = nullptr;
  int64_t target_dim = dim;
  if (feature.pooling == feature::Pooling::Target) {
    const auto& offsets = batch.candidate_offsets;
    bag = std::upper_bound(offsets.begin(), offsets.end(), static_cast<int32_t>(row)) - offsets.begin() - 1;
    const feature::Feature& by = spec_.features()[static_cast<size_t>(feature.target)];
    target_dim = by.dim;
    const int64_t id = batch.ids[static_cast<size_t>(by.slot)].ids[static_cast<size_t>(row)];
    target = tables_[static_cast<size_t>(by.table)].data() + id * target_dim;
  }
  const int32_t first = column.offsets[static_cast<size_t>(bag)],
                last = column.offsets[static_cast<size_t>(bag) + 1];
  std::fill(out, out + dim, 0.0F);
  if (first == last) return;
  const auto event = [&](int32_t i) {
    return table + static_cast<int64_t>(column.ids[static_cast<size_t>(i)]) * dim;
  };
  if (target == nullptr) {  // self: the mean attends; `out` holds it meanwhile
    for (int32_t i = first; i < last; ++i)
      for (int64_t d = 0; d < dim; ++d) out[d] += event(i)[d];
    for (int64_t d = 0; d < dim; ++d) out[d] /= static_cast<float>(last - first);
    target = out;
  }
  const ArenaScope scope(arena);
  auto* q = arena.take<float>(dim);
  auto* share = arena.take<float>(last - first);
  for (int64_t d = 0; d < dim; ++d) {
    float sum = query.bias[static_cast<size_t>(d)];
    for (int64_t k = 0; k < target_dim; ++k)
      sum += query.weight[static_cast<size_t>(d * target_dim + k)] * target[k];
    q[d] = sum;
  }
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  float largest = -std::numeric_limits<float>::infinity(), total = 0;
  for (int32_t i = first; i < last; ++i) {
    float score = 0;
    for (int64_t d = 0; d < dim; ++d) score += event(i)[d] * q[d];
    share[i - first] = score * scale;
    largest = std::max(largest, share[i - first]);
  }
  for (int32_t i = 0; i < last - first; ++i) total += share[i] = std::exp(share[i] - largest);
  std::fill(out, out + dim, 0.0F);
  for (int32_t i = first; i < last; ++i) {
    const float weight = share[i - first] / total;
    for (int64_t d = 0; d < dim; ++d) out[d] += weight * event(i)[d];
  }
}

void Tokenizer::feature_values(Arena& arena, int index, const feature::RequestBatch& batch, int64_t begin,
                               int64_t end, float* out, int64_t stride) const {
  const feature::Feature& feature = spec_.features()[static_cast<size_t>(index)];
  if (feature.pooling != feature::Pooling::Mean) {
    for (int64_t r = begin; r < end; ++r)
      pool_by_attention(arena, index, batch, r, out + (r - begin) * stride);
    return;
  }
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
      feature_values(compute.arena, f, batch, begin, end, values + at, in);
      at += spec_.features()[static_cast<size_t>(f)].dim;
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
  for (const auto& [f, query] : pool_queries_) {
    const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
    if (feature.value_side() == side) {
      sum += 2.0 * static_cast<double>(query.weight.size()) +
             4.0 * static_cast<double>(feature.max_length * feature.dim);
    }
  }
  return sum;
}

}  // namespace uniscale::runtime
