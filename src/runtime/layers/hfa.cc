#include "runtime/layers/hfa.h"

namespace uniscale::runtime {

HfaLayer::HfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const HfaOptions& options,
                   Precision precision)
    : options_(options) {
  const int64_t tokens = options.num_tokens, width = options.width;
  const auto gain = [&](const char* norm) {
    return file.require(name + norm, bundle::DType::F32, {tokens, width}).f32();
  };
  qkv_ = load_by_token(file, name + ".qkv", tokens, 3 * width, width, false, gain(".attention_norm.gain"),
                       precision);
  if (!options.finishes) return;
  output_ = load_by_token(file, name + ".output", tokens, width, width, false, {}, precision);
  ffn_ = TokenFfn(file, name + ".ffn", tokens, width, options.ffn_ratio * width, gain(".ffn_norm.gain"),
                  precision);
}

void HfaLayer::operator()(const Compute& compute, int64_t first, int64_t count, int64_t rows, float* x,
                          std::byte* qkv, const SharedKeys& shared, bool causal) const {
  const ArenaScope scope(compute.arena);
  project(compute, first, count, rows, x, qkv);
  std::byte* attended = compute.take_operands(count * rows, options_.width);
  attend(compute, count, rows, qkv, shared, causal, attended);
  finish(compute, first, count, rows, attended, x);
}

void HfaLayer::project(const Compute& compute, int64_t first, int64_t count, int64_t rows, const float* x,
                       std::byte* qkv) const {
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width;
  std::byte* normed = compute.take_operands(rows, width);
  for (int64_t t = 0; t < count; ++t) {
    compute.kernels.rms_norm(x + t * rows * width, rows, width, width, nullptr, kNormEpsilon, normed,
                             operand_width(width));
    qkv_[static_cast<size_t>(first + t)](
        compute, {normed, 1, rows, width},
        {.data = qkv + t * rows * 3 * width * compute.operand_size(), .stride = 3 * width, .operands = true});
  }
}

void HfaLayer::attend(const Compute& compute, int64_t count, int64_t rows, const std::byte* qkv,
                      const SharedKeys& shared, bool causal, std::byte* attended) const {
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width, bytes = compute.operand_size();
  AttentionArgs args;
  args.num_lists = rows;
  args.num_heads = options_.num_heads;
  args.head_dim = width / options_.num_heads;
  args.num_own = count;
  args.num_shared = shared.num_tokens;
  args.causal = causal;
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
  args.out_token_stride = rows * operand_width(width);
  args.out_list_stride = operand_width(width);
  args.scratch = compute.arena.take_bytes(
      attention_scratch_bytes(args.num_heads, args.head_dim, count, shared.num_tokens));
  compute.kernels.attention(args);
}

void HfaLayer::finish(const Compute& compute, int64_t first, int64_t count, int64_t rows,
                      const std::byte* attended, float* x) const {
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width, stride = operand_width(width);
  std::byte* normed = compute.take_operands(rows, width);
  for (int64_t t = 0; t < count; ++t) {
    float* xt = x + t * rows * width;
    const Output residual{.data = xt, .stride = width, .add = xt, .add_stride = width};
    output_[static_cast<size_t>(first + t)](
        compute, {attended + t * rows * stride * compute.operand_size(), 1, rows, width}, residual);
    compute.kernels.rms_norm(xt, rows, width, width, nullptr, kNormEpsilon, normed, stride);
    ffn_(compute, first + t, {normed, 1, rows, width}, residual);
  }
}

double HfaLayer::attention_flops(int64_t num_keys) const {
  return 4.0 * static_cast<double>(num_keys) * static_cast<double>(options_.width);
}

}  // namespace uniscale::runtime
