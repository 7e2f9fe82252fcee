#include "runtime/layers/composite_projection.h"

namespace uniscale::runtime {

CompositeProjection::CompositeProjection(const bundle::SafetensorsFile& file, const std::string& name,
                                         const Shape& shape, std::span<const float> gain, Precision precision)
    : low_rank_(shape.rank > 0) {
  down_ = SplitLinear(file, low_rank_ ? name + ".0" : name, low_rank_ ? shape.rank : shape.out,
                      shape.num_shared, shape.num_own, shape.width, precision, gain, false);
  if (low_rank_) up_ = Linear(file, name + ".1", shape.out, shape.rank, precision, false);
}

void CompositeProjection::operator()(const Compute& compute, const OperandTokens& x, const float* part,
                                     const int32_t* request_of, void* y, int64_t stride) const {
  const Output whole{.data = y, .stride = stride, .operands = true};
  if (!low_rank_) return down_(compute, x, part, request_of, whole);
  const ArenaScope scope(compute.arena);
  const int64_t rank = down_.out();
  std::byte* low = compute.take_operands(x.rows, rank);
  down_(compute, x, part, request_of, {.data = low, .stride = operand_width(rank), .operands = true});
  up_(compute, {low, 1, x.rows, rank}, whole);
}

}  // namespace uniscale::runtime
