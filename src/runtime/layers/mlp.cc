#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

Mlp::Mlp(const bundle::SafetensorsFile& file, const std::string& name, const std::vector<int64_t>& widths,
         Activation activation, Precision precision, int first)
    : activation_(activation) {
  for (size_t i = 0; i + 1 < widths.size(); ++i) {
    layers_.emplace_back(file, name + "." + std::to_string(first + static_cast<int>(i)), widths[i + 1],
                         widths[i], precision);
  }
}

void Mlp::operator()(const Compute& compute, const OperandTokens& x, const Output& y) const {
  const ArenaScope scope(compute.arena);
  OperandTokens in = x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Linear& layer = layers_[i];
    if (i + 1 == layers_.size()) return layer(compute, in, y);
    std::byte* hidden = compute.take_operands(x.rows, layer.out());
    layer(
        compute, in,
        {.data = hidden, .stride = operand_width(layer.out()), .operands = true, .activation = activation_});
    in = {.data = hidden, .num_tokens = 1, .rows = x.rows, .width = layer.out()};
  }
}

double Mlp::flops() const {
  double sum = 0;
  for (const Linear& layer : layers_) sum += layer.flops();
  return sum;
}

}  // namespace uniscale::runtime
