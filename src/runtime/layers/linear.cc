#include "runtime/layers/linear.h"

#include <algorithm>

namespace uniscale::runtime {

Linear::Linear(Precision precision, const float* weight, std::span<const float> bias, int64_t out, int64_t in,
               int64_t stride, int64_t first, const float* column_scale)
    : weight_(precision, weight, out, in, stride, first, column_scale) {
  if (bias.empty()) return;
  bias_.assign(static_cast<size_t>(weight_.padded_out()), 0.0F);
  std::copy(bias.begin(), bias.end(), bias_.begin());
}

Linear::Linear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out, int64_t in,
               Precision precision, bool with_bias) {
  const auto weight = file.require(name + ".weight", bundle::DType::F32, {out, in}).f32();
  const auto bias =
      with_bias ? file.require(name + ".bias", bundle::DType::F32, {out}).f32() : std::span<const float>();
  *this = Linear(precision, weight.data(), bias, out, in, in);
}

void Linear::operator()(const Compute& compute, const OperandTokens& x, const Output& y) const {
  const ArenaScope scope(compute.arena);
  MatmulArgs args;
  args.x = x.data;
  args.num_rows = x.rows;
  args.x_stride = operand_width(x.width);
  args.num_segments = x.num_tokens;
  args.segment_stride = x.rows * operand_width(x.width);
  args.weights = &weight_;
  args.bias = bias_.empty() ? nullptr : bias_.data();
  args.add = y.add;
  args.add_stride = y.add_stride;
  args.add_row = y.add_row;
  args.activation = y.activation;
  args.y = y.data;
  args.y_stride = y.stride;
  args.y_operands = y.operands;
  args.scratch = compute.arena.take<float>(x.rows * PackedWeights::kPanel);
  compute.kernels.matmul(args);
}

SplitLinear::SplitLinear(const bundle::SafetensorsFile& file, const std::string& name, int64_t out,
                         int64_t num_shared, int64_t num_own, int64_t width, Precision precision,
                         std::span<const float> gain, bool with_bias) {
  const auto weight =
      file.require(name + ".weight", bundle::DType::F32, {out, (num_shared + num_own) * width}).f32();
  const auto bias =
      with_bias ? file.require(name + ".bias", bundle::DType::F32, {out}).f32() : std::span<const float>();
  *this = SplitLinear(precision, weight.data(), bias, out, num_shared, num_own, width, gain);
}

SplitLinear::SplitLinear(Precision precision, const float* weight, std::span<const float> bias, int64_t out,
                         int64_t num_shared, int64_t num_own, int64_t width, std::span<const float> gain) {
  const int64_t shared = num_shared * width, own = num_own * width;
  const float* scale = gain.empty() ? nullptr : gain.data();
  const bool split = num_shared > 0;
  if (split) shared_ = Linear(precision, weight, bias, out, shared, shared + own, 0, scale);
  own_ = Linear(precision, weight, split ? std::span<const float>() : bias, out, own, shared + own, shared,
                scale == nullptr ? nullptr : scale + shared);
}

void SplitLinear::shared_part(const Compute& compute, const OperandTokens& x, float* part) const {
  shared_(compute, x, {.data = part, .stride = out()});
}

void SplitLinear::operator()(const Compute& compute, const OperandTokens& x, const float* part,
                             const int32_t* part_row, Output y) const {
  y.add = part;
  y.add_stride = out();
  y.add_row = part_row;
  own_(compute, x, y);
}

std::vector<Linear> load_by_token(const bundle::SafetensorsFile& file, const std::string& name,
                                  int64_t tokens, int64_t out, int64_t in, bool with_bias,
                                  std::span<const float> gain, Precision precision) {
  const auto weight = file.require(name + ".weight", bundle::DType::F32, {tokens, out, in}).f32();
  std::span<const float> bias;
  if (with_bias) bias = file.require(name + ".bias", bundle::DType::F32, {tokens, out}).f32();
  std::vector<Linear> layers;
  for (int64_t t = 0; t < tokens; ++t) {
    layers.emplace_back(precision, weight.data() + t * out * in,
                        with_bias ? bias.subspan(static_cast<size_t>(t * out), static_cast<size_t>(out))
                                  : std::span<const float>(),
                        out, in, in, 0, gain.empty() ? nullptr : gain.data() + t * in);
  }
  return layers;
}

}  // namespace uniscale::runtime
