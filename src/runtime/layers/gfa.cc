#include "runtime/layers/gfa.h"

#include "runtime/layers/hfa.h"

namespace uniscale::runtime {

GfaLayer::GfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const GfaOptions& options,
                   Precision precision)
    : options_(options) {
  const auto gain = file.require(name + ".norm.gain", bundle::DType::F32,
                                 {options.num_shared + options.num_own, options.width})
                        .f32();
  const auto load = [&](const char* part, int64_t rank) {
    return CompositeProjection(file, name + part,
                               {.num_shared = options.num_shared,
                                .num_own = options.num_own,
                                .width = options.width,
                                .out = options.num_tokens * options.out_width,
                                .rank = rank},
                               gain, precision);
  };
  projections_[0] = load(".query", options.rank_qk);
  projections_[1] = load(".key", options.rank_qk);
  projections_[2] = load(".value", options.rank_v);
  if (options.skip == GfaSkip::Linear) {
    skip_ = SplitLinear(file, name + ".skip", options.num_tokens * options.out_width, options.num_shared,
                        options.num_own, options.width, precision, {}, false);
  }
}

int64_t GfaLayer::part_width() const {
  if (options_.num_shared == 0) return 0;
  int64_t sum = options_.skip == GfaSkip::Linear ? skip_.out() : 0;
  for (const CompositeProjection& projection : projections_) sum += projection.part_width();
  return sum;
}

void GfaLayer::shared_part(const Compute& compute, const float* x, int64_t rows, float* part) const {
  if (options_.num_shared == 0) return;
  const ArenaScope scope(compute.arena);
  const int64_t width = options_.width, all = options_.num_shared * rows;
  std::byte* operands = compute.take_operands(all, width);
  const OperandTokens tokens{operands, options_.num_shared, rows, width};
  compute.kernels.rms_norm(x, all, width, width, nullptr, kNormEpsilon, operands, operand_width(width));
  for (const CompositeProjection& projection : projections_) {
    projection.shared_part(compute, tokens, part);
    part += rows * projection.part_width();
  }
  if (options_.skip == GfaSkip::Linear) {
    compute.kernels.to_operands(x, all, width, width, operands, operand_width(width));
    skip_.shared_part(compute, tokens, part);
  }
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
  const int64_t list_stride = operand_width(options_.num_tokens * out_width);
  std::byte* qkv[3];
  for (int i = 0; i < 3; ++i) {
    qkv[i] = compute.arena.take_bytes(rows * list_stride * compute.operand_size());
    projections_[i](compute, tokens, part_of(projections_[i].part_width()), request_of, qkv[i], list_stride);
  }

  AttentionArgs args;
  args.num_lists = rows;
  args.num_heads = options_.num_heads;
  args.head_dim = out_width / options_.num_heads;
  args.num_own = options_.num_tokens;
  args.q = qkv[0];
  args.k = qkv[1];
  args.v = qkv[2];
  args.token_stride = out_width;
  args.list_stride = list_stride;
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
  for (const CompositeProjection& projection : projections_) sum += projection.shared_flops();
  return sum;
}

double GfaLayer::own_flops() const {
  double sum = options_.skip == GfaSkip::Linear ? skip_.own_flops() : 0;
  for (const CompositeProjection& projection : projections_) sum += projection.own_flops();
  const auto tokens = static_cast<double>(options_.num_tokens);
  return sum + 4.0 * tokens * tokens * static_cast<double>(options_.out_width);
}

}  // namespace uniscale::runtime
