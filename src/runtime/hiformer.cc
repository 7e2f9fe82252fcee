#include "runtime/hiformer.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/layers/hfa.h"

namespace uniscale::runtime {

Hiformer::Hiformer(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                   const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels),
      num_heads_(num_attention_heads(options)),
      num_task_tokens_(static_cast<int64_t>(heads().size())) {
  task_token_ =
      this->weights().require("task_token.weight", bundle::DType::F32, {num_task_tokens_, width()}).f32();
  const int64_t num_rows = num_tokens() + num_task_tokens_;
  const int64_t num_layers = options.number("num_layers", 1, 64);
  const int64_t rank_qk = options.number("rank_qk", 0, kMaxWidth),
                rank_v = options.number("rank_v", 0, kMaxWidth);
  const int64_t hidden = options.number("ffn_ratio", 1, 64) * width();
  for (int64_t l = 0; l < num_layers; ++l) {
    const std::string name = fmt::format("hiformer.{}.", l);
    Layer layer;
    layer.num_shared = l == 0 ? num_request_tokens() : 0;
    layer.num_own = num_rows - layer.num_shared;
    layer.num_queries = l + 1 == num_layers ? num_task_tokens_ : num_rows;
    const auto gain = [&](const char* norm, int64_t rows) {
      return this->weights().require(name + norm, bundle::DType::F32, {rows, width()}).f32();
    };
    const auto norm = gain("attention_norm.gain", num_rows);
    const auto load = [&](const char* part, int64_t rows, int64_t rank) {
      return CompositeProjection(this->weights(), name + part,
                                 {.num_shared = layer.num_shared,
                                  .num_own = layer.num_own,
                                  .width = width(),
                                  .out = rows * width(),
                                  .rank = rank},
                                 norm, precision());
    };
    layer.projections[0] = load("query", layer.num_queries, rank_qk);
    layer.projections[1] = load("key", num_rows, rank_qk);
    layer.projections[2] = load("value", num_rows, rank_v);
    layer.ffn = TokenFfn(this->weights(), name + "ffn", layer.num_queries, width(), hidden,
                         gain("ffn_norm.gain", layer.num_queries), precision());
    layers_.push_back(std::move(layer));
  }
  load_heads(options, num_task_tokens_ * width());
}

void Hiformer::prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                             RequestState::Impl& kept) const {
  const int64_t rows = batch.num_requests, tokens = num_request_tokens();
  std::byte* operands = compute.take_operands(tokens * rows, width());
  compute.kernels.rms_norm(x, tokens * rows, width(), width(), nullptr, kNormEpsilon, operands,
                           operand_width(width()));
  for (const CompositeProjection& projection : layers_[0].projections) {
    float* part = nullptr;
    if (tokens > 0) {
      part = kept.arena.take<float>(rows * projection.part_width());
      projection.shared_part(compute, {operands, tokens, rows, width()}, part);
    }
    kept.parts.push_back(part);
  }
}

void Hiformer::attend(const Compute& compute, const Layer& layer, const Block& block, const float* x,
                      float* y) const {
  const ArenaScope scope(compute.arena);
  const int64_t rows = block.rows, dim = width(), all = layer.num_own * rows,
                num_rows = layer.num_shared + layer.num_own, bytes = compute.operand_size();
  std::byte* normed = compute.take_operands(all, dim);
  compute.kernels.rms_norm(x, all, dim, dim, nullptr, kNormEpsilon, normed, operand_width(dim));
  // Queries, keys and values of a candidate are equally far apart, also where fewer rows ask.
  const int64_t stride = operand_width(num_rows * dim);
  std::byte* qkv[3];
  for (size_t i = 0; i < 3; ++i) {
    qkv[i] = compute.arena.take_bytes(rows * stride * bytes);
    layer.projections[i](compute, {normed, layer.num_own, rows, dim},
                         layer.num_shared > 0 ? static_cast<const float*>(block.parts[i]) : nullptr,
                         block.request_of, qkv[i], stride);
  }
  // Rows that ask are the last ones: keys before them are "shared" with nobody.
  const int64_t before = num_rows - layer.num_queries;
  AttentionArgs args;
  args.num_lists = rows;
  args.num_heads = num_heads_;
  args.head_dim = dim / num_heads_;
  args.num_own = layer.num_queries;
  args.num_shared = before;
  args.q = qkv[0];
  args.k = qkv[1] + before * dim * bytes;
  args.v = qkv[2] + before * dim * bytes;
  args.token_stride = dim;
  args.list_stride = stride;
  args.shared_k = qkv[1];
  args.shared_v = qkv[2];
  args.shared_token_stride = dim;
  args.shared_list_stride = stride;
  args.out = y;
  args.out_floats = true;
  args.out_token_stride = rows * dim;
  args.out_list_stride = dim;
  args.scratch = compute.arena.take_bytes(
      attention_scratch_bytes(num_heads_, args.head_dim, args.num_own, args.num_shared));
  compute.kernels.attention(args);

  // The skip: rows of the request's tokens first, if those ask too.
  const int64_t own_before = std::max<int64_t>(0, before - layer.num_shared);
  const int64_t of_request = layer.num_queries - (layer.num_own - own_before);
  for (int64_t t = 0; t < of_request; ++t)
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = block.request_x + ((before + t) * block.num_requests + block.request_of[r]) * dim;
      for (int64_t d = 0; d < dim; ++d) y[(t * rows + r) * dim + d] += from[d];
    }
  const float* own = x + own_before * rows * dim;
  float* rest = y + of_request * rows * dim;
  for (int64_t i = 0; i < (layer.num_queries - of_request) * rows * dim; ++i) rest[i] += own[i];
}

void Hiformer::score_block(const Compute& compute, const Block& block, float* z) const {
  const int64_t rows = block.rows, dim = width();
  auto* x = compute.arena.take<float>(layers_[0].num_own * rows * dim);
  std::copy_n(block.x, num_candidate_tokens() * rows * dim, x);
  float* task = x + num_candidate_tokens() * rows * dim;
  for (int64_t k = 0; k < num_task_tokens_; ++k)
    for (int64_t r = 0; r < rows; ++r, task += dim) std::copy_n(task_token_.data() + k * dim, dim, task);

  std::byte* normed = compute.take_operands(rows, dim);
  for (const Layer& layer : layers_) {
    auto* y = compute.arena.take<float>(layer.num_queries * rows * dim);
    attend(compute, layer, block, x, y);
    for (int64_t t = 0; t < layer.num_queries; ++t) {
      float* yt = y + t * rows * dim;
      compute.kernels.rms_norm(yt, rows, dim, dim, nullptr, kNormEpsilon, normed, operand_width(dim));
      layer.ffn(compute, t, {normed, 1, rows, dim},
                {.data = yt, .stride = dim, .add = yt, .add_stride = dim});
    }
    x = y;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < num_task_tokens_; ++k, z += dim) std::copy_n(x + (k * rows + r) * dim, dim, z);
}

double Hiformer::request_flops() const {
  double sum = 0;
  for (const CompositeProjection& projection : layers_[0].projections) sum += projection.shared_flops();
  return sum;
}

double Hiformer::candidate_flops() const {
  double sum = 0;
  for (const Layer& layer : layers_) {
    for (const CompositeProjection& projection : layer.projections) sum += projection.own_flops();
    const auto queries = static_cast<double>(layer.num_queries),
               rows = static_cast<double>(layer.num_shared + layer.num_own);
    sum += queries * (4.0 * rows * static_cast<double>(width()) + layer.ffn.flops());
  }
  return sum;
}

}  // namespace uniscale::runtime
