#include "runtime/layers/heads.h"

namespace uniscale::runtime {

Heads::Heads(const bundle::SafetensorsFile& file, const std::string& domain,
             const std::vector<std::string>& tasks, int64_t in, const std::vector<int64_t>& hidden, Isa isa)
    : kernels_(find_kernels(isa, Precision::Fp32)), in_(in) {
  std::vector<int64_t> widths{in};
  widths.insert(widths.end(), hidden.begin(), hidden.end());
  widths.push_back(1);
  for (const std::string& task : tasks)
    heads_.emplace_back(file, "head." + domain + "." + task, widths, Activation::Relu, Precision::Fp32);
}

void Heads::operator()(Arena& arena, const float* x, int64_t rows, int64_t x_stride, int64_t at,
                       std::vector<std::vector<float>>& out) const {
  const ArenaScope scope(arena);
  const Compute compute{*kernels_, arena};
  auto* operands = arena.take<float>(rows * operand_width(in_));
  kernels_->to_operands(x, rows, in_, x_stride, operands, operand_width(in_));
  for (size_t t = 0; t < heads_.size(); ++t) {
    float* probability = out[t].data() + at;
    heads_[t](compute, {.data = operands, .num_tokens = 1, .rows = rows, .width = in_},
              {.data = probability, .stride = 1});
    kernels_->sigmoid(probability, rows);
    if (t > 0) kernels_->multiply(probability, out[0].data() + at, rows);
  }
}

double Heads::flops() const {
  double sum = 0;
  for (const Mlp& head : heads_) sum += head.flops();
  return sum;
}

void resize_scores(std::vector<std::vector<float>>& heads, size_t num_tasks, int64_t rows) {
  heads.resize(num_tasks);
  for (auto& head : heads) head.resize(static_cast<size_t>(rows));
}

}  // namespace uniscale::runtime
