#include "runtime/layers/event_tokens.h"

#include <algorithm>

namespace uniscale::runtime {

EventTokens::EventTokens(const bundle::SafetensorsFile& file, const feature::FeatureSpec& spec,
                         int64_t token_dim, Precision precision)
    : token_dim_(token_dim) {
  for (const feature::EventSequence& one : feature::event_sequences(spec)) {
    Sequence sequence{.max_length = one.max_length, .width = one.width};
    for (const int f : one.features) {
      const feature::Feature& feature = spec.features()[static_cast<size_t>(f)];
      const feature::TableSpec& table = spec.tables()[static_cast<size_t>(feature.table)];
      sequence.fields.push_back(
          {static_cast<size_t>(feature.slot),
           file.require("table." + table.name, bundle::DType::F32, {table.num_rows, table.dim}).f32(),
           feature.dim});
    }
    sequence.mlp =
        Mlp(file, "event." + one.name, {one.width, token_dim, token_dim}, Activation::Gelu, precision);
    sequences_.push_back(std::move(sequence));
    max_tokens_ += one.max_length + 1;
  }
  if (sequences_.empty()) return;
  separator_ = file.require("event.separator.weight", bundle::DType::F32,
                            {static_cast<int64_t>(sequences_.size()), token_dim})
                   .f32();
}

int64_t EventTokens::num_tokens(const feature::RequestBatch& batch, int64_t request) const {
  int64_t sum = 0;
  for (const Sequence& sequence : sequences_) {
    const auto& offsets = batch.ids[sequence.fields[0].slot].offsets;
    sum += offsets[static_cast<size_t>(request) + 1] - offsets[static_cast<size_t>(request)] + 1;
  }
  return sum;
}

void EventTokens::operator()(const Compute& compute, const feature::RequestBatch& batch, int64_t request,
                             float* x) const {
  const float* separator = separator_.data();
  for (const Sequence& sequence : sequences_) {
    const ArenaScope scope(compute.arena);
    const auto& offsets = batch.ids[sequence.fields[0].slot].offsets;
    const int64_t first = offsets[static_cast<size_t>(request)],
                  rows = offsets[static_cast<size_t>(request) + 1] - first;
    auto* values = compute.arena.take<float>(rows * sequence.width);
    float* to = values;
    for (int64_t i = 0; i < rows; ++i)
      for (const Field& field : sequence.fields) {
        const auto id = static_cast<int64_t>(batch.ids[field.slot].ids[static_cast<size_t>(first + i)]);
        to = std::copy_n(field.table.data() + id * field.dim, field.dim, to);
      }
    if (rows > 0) {
      std::byte* operands = compute.take_operands(rows, sequence.width);
      compute.kernels.to_operands(values, rows, sequence.width, sequence.width, operands,
                                  operand_width(sequence.width));
      sequence.mlp(compute, {operands, 1, rows, sequence.width}, {.data = x, .stride = token_dim_});
    }
    x = std::copy_n(separator, token_dim_, x + rows * token_dim_);
    separator += token_dim_;
  }
}

double EventTokens::flops() const {
  double sum = 0;
  for (const Sequence& one : sequences_) sum += static_cast<double>(one.max_length) * one.mlp.flops();
  return sum;
}

}  // namespace uniscale::runtime
