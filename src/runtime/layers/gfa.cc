#include "runtime/layers/gfa.h"

#include "runtime/layers/hfa.h"

namespace uniscale::runtime {

GfaLayer::Projection GfaLayer::load_projection(const bundle::SafetensorsFile& file, const std::string& name,
                                               int64_t rank, std::span<const float> gain,
                                               Precision precision) const {
  const int64_t out = options_.num_tokens * options_.out_width;
  Projection projection;
  projection.low_rank = rank > 0;
  projection.down =
      SplitLinear(file, rank > 0 ? name + ".0" : name, rank > 0 ? rank : out, options_.num_shared,
                  options_.num_own, options_.width, precision, gain, false);
  if (rank > 0) projection.up = Linear(file, name + ".1", out, rank, precision, false);
  return projection;
}

GfaLayer::GfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const GfaOptions& options,
                   Precision precision)
    : options_(options) {
  const auto gain = file.require(name + ".norm.gain", bundle::DType::F32,
                                 {options.num_shared + options.num_own, options.width})
                        .f32();
  projections_[0] = load_projection(file, name + ".query", options.rank_qk, gain, precision);
  projections_[1] = load_projection(file, name + ".key", options.rank_qk, gain, precision);
  projections_[2] = load_projection(file, name + ".value", options.rank_v, gain, precision);
  if (options.skip == GfaSkip::Linear) {
    skip_ = SplitLinear(file, name + ".skip", options.num_tokens * options.out_width, options.num_shared,
                        options.num_own, options.width, precision, {}, false);
  }
}

int64_t GfaLayer::part_width() const {
  if (options_.num_shared == 0) return 0;
  int64_t sum = options_.skip == GfaSkip::Linear ? skip_.out() : 0;
  for (const Projection& projection : projections_) sum += projection.down.out();
  return sum;
}

void GfaLayer::shared_part(const Compute& compute, const float* x, int64_t rows, float* part) const {
  if (options_.num_shared == 0) return;
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width, all = options_.num_shared * rows;
  std::byte* operands = compute.take_operands(all, width);
  const OperandTokens tokens{operands, options_.num_shared, rows, width};
  compute.kernels.rms_norm(x, all, width, width, nullptr, kNormEpsilon, operands, operand_width(width));
  for (const Projection& projection : projections_) {
    projection.down.shared_part(compute, tokens, part);
    part += rows * projection.down.out();
  }
  if (options_.skip == GfaSkip::Linear) {
    compute.kernels.to_operands(x, all, width, width, operands, operand_width(width));
    skip_.shared_part(compute, tokens, part);
  }
}

std::byte* GfaLayer::project(const Compute& compute, const Projection& projection, const OperandTokens& x,
                             const float* part, const int32_t* request_of) const {
  const int64_t out = options_.num_tokens * options_.out_width;
  std::byte* y = compute.take_operands(x.rows, out);
  const Output whole{.data = y, .stride = operand_width(out), .operands = true};
  if (!projection.low_rank) {
    projection.down(compute, x, part, request_of, whole);
    return y;
  }
  const ArenaScope scope(compute.arena);
  const int64_t rank = projection.down.out();
  std::byte* low = compute.take_operands(x.rows, rank);
  projection.down(compute, x, part, request_of,
                  {.data = low, .stride = operand_width(rank), .operands = true});
  projection.up(compute, {low, 1, x.rows, rank}, whole);
  return y;
}

void GfaLayer::operator()(const Compute& compute, const float* x, int64_t rows, const float* x_shared,
                          const float* part, int64_t num_requests, const int32_t* request_of,
                          float* y) const {
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width, all = options_.num_own * rows, out_width = options_.out_width;
  std::byte* operands = compute.take_operands(all, width);
  const OperandTokens tokens{operands, options_.num_own, rows, width};
  const auto part_of = [&](int64_t size) {
    const float* mine = part;
    if (part != nullptr) part += num_requests * size;
    return mine;
  };
  compute.kernels.rms_norm(x, all, width, width, nullptr, kNormEpsilon, operands, operand_width(width));
  const std::byte* qkv[3];
  for (int i = 0; i < 3; ++i)
    qkv[i] = project(compute, projections_[i], tokens, part_of(projections_[i].down.out()), request_of);

  AttentionArgs args;
  args.num_lists = rows;
  args.num_heads = options_.num_heads;
  args.head_dim = out_width / options_.num_heads;
  args.num_own = options_.num_tokens;
  args.q = qkv[0];
  args.k = qkv[1];
  args.v = qkv[2];
  args.token_stride = out_width;
  args.list_stride = operand_width(options_.num_tokens * out_width);
  args.shared_list = request_of;
  args.out = y;
  args.out_floats = true;
  args.out_token_stride = rows * out_width;
  args.out_list_stride = out_width;
  if (options_.skip == GfaSkip::Identity) {
    args.add = x;
    args.add_token_stride = rows * width;
    args.add_list_stride = width;
    args.shared_add = x_shared;
    args.num_shared_add = options_.num_shared;
    args.shared_add_token_stride = num_requests * width;
    args.shared_add_list_stride = width;
  } else if (options_.skip == GfaSkip::Linear) {
    auto* skipped = compute.arena.take<float>(rows * skip_.out());
    compute.kernels.to_operands(x, all, width, width, operands, operand_width(width));
    skip_(compute, tokens, part_of(skip_.out()), request_of, {.data = skipped, .stride = skip_.out()});
    args.add = skipped;
    args.add_token_stride = out_width;
    args.add_list_stride = skip_.out();
  }
  args.scratch = compute.arena.take_bytes(
      attention_scratch_bytes(args.num_heads, args.head_dim, options_.num_tokens, 0));
  compute.kernels.attention(args);
}

double GfaLayer::shared_flops() const {
  double sum = options_.skip == GfaSkip::Linear ? skip_.shared_flops() : 0;
  for (const Projection& projection : projections_) sum += projection.down.shared_flops();
  return sum;
}

double GfaLayer::own_flops() const {
  double sum = options_.skip == GfaSkip::Linear ? skip_.own_flops() : 0;
  for (const Projection& projection : projections_)
    sum += projection.down.own_flops() + (projection.low_rank ? projection.up.flops() : 0);
  const auto tokens = static_cast<double>(options_.num_tokens);
  return sum + 4.0 * tokens * tokens * static_cast<double>(options_.out_width);
}

}  // namespace uniscale::runtime
