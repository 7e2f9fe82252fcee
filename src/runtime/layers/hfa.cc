#include "runtime/layers/hfa.h"

namespace uniscale::runtime {
namespace {

// `<name>.weight` [T, out, in] and perhaps `<name>.bias` [T, out], the gain [T, in] of the norm before folded
// in.
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

}  // namespace

HfaLayer::HfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const HfaOptions& options,
                   Precision precision)
    : options_(options) {
  const int64_t tokens = options.num_tokens, width = options.width, hidden = options.ffn_ratio * width;
  const auto gain = [&](const char* norm) {
    return file.require(name + norm, bundle::DType::F32, {tokens, width}).f32();
  };
  qkv_ = load_by_token(file, name + ".qkv", tokens, 3 * width, width, false, gain(".attention_norm.gain"),
                       precision);
  output_ = load_by_token(file, name + ".output", tokens, width, width, false, {}, precision);
  ffn_in_ =
      load_by_token(file, name + ".ffn.0", tokens, hidden, width, true, gain(".ffn_norm.gain"), precision);
  ffn_out_ = load_by_token(file, name + ".ffn.1", tokens, width, hidden, true, {}, precision);
}

void HfaLayer::operator()(const Compute& compute, int64_t first, int64_t count, int64_t rows, float* x,
                          std::byte* qkv, const SharedKeys& shared) const {
  const ArenaScope scope(compute.arena);
  const Kernels& kernels = compute.kernels;
  const int64_t width = options_.width, stride = operand_width(width), bytes = compute.operand_size();
  std::byte* normed = compute.take_operands(rows, width);
  const OperandTokens normed_rows{normed, 1, rows, width};
  for (int64_t t = 0; t < count; ++t) {
    kernels.rms_norm(x + t * rows * width, rows, width, width, nullptr, kNormEpsilon, normed, stride);
    qkv_[static_cast<size_t>(first + t)](
        compute, normed_rows,
        {.data = qkv + t * rows * 3 * width * bytes, .stride = 3 * width, .operands = true});
  }

  std::byte* attended = compute.take_operands(count * rows, width);
  AttentionArgs args;
  args.num_lists = rows;
  args.num_heads = options_.num_heads;
  args.head_dim = width / options_.num_heads;
  args.num_own = count;
  args.num_shared = shared.num_tokens;
  args.q = qkv;
  args.k = qkv + width * bytes;
  args.v = qkv + 2 * width * bytes;
  args.token_stride = rows * 3 * width;
  args.list_stride = 3 * width;
  if (shared.num_tokens > 0) {
    args.shared_k = static_cast<const std::byte*>(shared.qkv) + width * bytes;
    args.shared_v = static_cast<const std::byte*>(shared.qkv) + 2 * width * bytes;
    args.shared_token_stride = shared.num_lists * 3 * width;
    args.shared_list_stride = 3 * width;
    args.shared_list = shared.shared_list;
  }
  args.out = attended;
  args.out_token_stride = rows * stride;
  args.out_list_stride = stride;
  args.scratch = compute.arena.take_bytes(
      attention_scratch_bytes(args.num_heads, args.head_dim, count, shared.num_tokens));
  kernels.attention(args);

  const int64_t hidden_width = options_.ffn_ratio * width;
  std::byte* hidden = compute.take_operands(rows, hidden_width);
  for (int64_t t = 0; t < count; ++t) {
    const auto token = static_cast<size_t>(first + t);
    float* xt = x + t * rows * width;
    const Output residual{.data = xt, .stride = width, .add = xt, .add_stride = width};
    output_[token](compute, {attended + t * rows * stride * bytes, 1, rows, width}, residual);
    kernels.rms_norm(xt, rows, width, width, nullptr, kNormEpsilon, normed, stride);
    ffn_in_[token](compute, normed_rows,
                   {.data = hidden,
                    .stride = operand_width(hidden_width),
                    .operands = true,
                    .activation = Activation::Gelu});
    ffn_out_[token](compute, {hidden, 1, rows, hidden_width}, residual);
  }
}

double HfaLayer::token_flops() const {
  return qkv_[0].flops() + output_[0].flops() + ffn_in_[0].flops() + ffn_out_[0].flops();
}

double HfaLayer::attention_flops(int64_t num_keys) const {
  return 4.0 * static_cast<double>(num_keys) * static_cast<double>(options_.width);
}

}  // namespace uniscale::runtime
