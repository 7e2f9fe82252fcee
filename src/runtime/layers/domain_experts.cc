#include "runtime/layers/domain_experts.h"

#include <algorithm>
#include <cmath>

namespace uniscale::runtime {
namespace {

std::vector<int64_t> from_to(int64_t in, std::vector<int64_t> widths) {
  widths.insert(widths.begin(), in);
  return widths;
}

}  // namespace

Dref::Dref(const bundle::SafetensorsFile& file, const std::string& domain, const Options& options,
           Precision precision)
    : routed_(options.routed),
      shared_(file, "dref.shared", from_to(options.in, options.expert), Activation::Gelu, precision) {
  if (!routed_) return;
  expert_ =
      Mlp(file, "dref.expert." + domain, from_to(options.in, options.expert), Activation::Gelu, precision);
  std::vector<int64_t> gate = from_to(options.in, options.gate);
  gate.push_back(2);
  gate_ = Mlp(file, "dref.gate." + domain, gate, Activation::Gelu, precision);
}

void Dref::operator()(const Compute& compute, const OperandTokens& z, void* e, bool floats) const {
  const ArenaScope scope(compute.arena);
  const int64_t width = out(), stride = operand_width(width);
  if (!routed_) return shared_(compute, z, {.data = e, .stride = stride, .operands = !floats});
  auto* experts = compute.arena.take<float>(2 * z.rows * width);
  auto* logits = compute.arena.take<float>(z.rows * 2);
  shared_(compute, z, {.data = experts, .stride = width});
  expert_(compute, z, {.data = experts + z.rows * width, .stride = width});
  gate_(compute, z, {.data = logits, .stride = 2});
  compute.kernels.mix({.num_rows = z.rows,
                       .width = width,
                       .num_values = 2,
                       .logits = logits,
                       .logits_stride = 2,
                       .values = experts,
                       .value_stride = z.rows * width,
                       .row_stride = width,
                       .out = e,
                       .out_stride = stride,
                       .out_floats = floats});
}

Dapga::Dapga(const bundle::SafetensorsFile& file, const std::vector<std::string>& domains,
             const Options& options, Precision precision) {
  for (const std::string& domain : domains)
    experts_.emplace_back(file, "dapga.expert." + domain, from_to(options.in, options.expert),
                          Activation::Gelu, precision);
  const int64_t width = options.expert.back();
  const auto matrix = [&](const char* name) {
    return file.require(std::string("dapga.") + name + ".weight", bundle::DType::F32, {width, width}).f32();
  };
  const auto query = matrix("query"), key = matrix("key"), value = matrix("value");
  std::vector<double> sums(static_cast<size_t>(width));
  std::vector<float> read(static_cast<size_t>(width * width));  // keyᵀ query
  for (int64_t i = 0; i < width; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t a = 0; a < width; ++a) {
      const auto factor = static_cast<double>(key[static_cast<size_t>(a * width + i)]);
      for (int64_t j = 0; j < width; ++j)
        sums[static_cast<size_t>(j)] +=
            factor * static_cast<double>(query[static_cast<size_t>(a * width + j)]);
    }
    for (int64_t j = 0; j < width; ++j)
      read[static_cast<size_t>(i * width + j)] = static_cast<float>(sums[static_cast<size_t>(j)]);
  }
  read_ = Linear(precision, read.data(), {}, width, width, width);
  value_ = Linear(precision, value.data(), {}, width, width, width);
  std::vector<int64_t> gate = from_to(options.gate_in, options.gate);
  gate.push_back(width);
  gate_ = Mlp(file, "dapga.gate", gate, Activation::Gelu, precision);
}

void Dapga::gate(const Compute& compute, const OperandTokens& tokens, float* gate) const {
  gate_(compute, tokens, {.data = gate, .stride = out()});
  compute.kernels.sigmoid(gate, tokens.rows * out());
}

void Dapga::operator()(const Compute& compute, const OperandTokens& e, const float* gate,
                       const int32_t* request_of, float* o) const {
  const ArenaScope scope(compute.arena);
  const Kernels& kernels = compute.kernels;
  const int64_t width = out(), rows = e.rows, stride = operand_width(width);
  const auto num_domains = static_cast<int64_t>(experts_.size());
  auto* u = compute.arena.take<float>(num_domains * rows * width);
  for (int64_t k = 0; k < num_domains; ++k)
    experts_[static_cast<size_t>(k)](compute, e, {.data = u + k * rows * width, .stride = width});
  std::byte* operands = compute.take_operands(rows, width);
  kernels.to_operands(u, rows, width, width, operands, stride);
  auto* reader = compute.arena.take<float>(rows * width);
  read_(compute, {operands, 1, rows, width}, {.data = reader, .stride = width});
  auto* logits = compute.arena.take<float>(rows * num_domains);
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < num_domains; ++k)
      logits[r * num_domains + k] = kernels.dot(reader + r * width, u + (k * rows + r) * width, width, scale);
  kernels.mix({.num_rows = rows,
               .width = width,
               .num_values = num_domains,
               .logits = logits,
               .logits_stride = num_domains,
               .values = u,
               .value_stride = rows * width,
               .row_stride = width,
               .out = operands,
               .out_stride = stride});
  value_(compute, {operands, 1, rows, width}, {.data = o, .stride = width});
  for (int64_t r = 0; r < rows; ++r) kernels.multiply(o + r * width, gate + request_of[r] * width, width);
}

double Dapga::flops() const {
  double sum = read_.flops() + value_.flops();
  for (const Mlp& expert : experts_) sum += expert.flops();
  return sum;
}

}  // namespace uniscale::runtime
