#include "runtime/rankmixer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace uniscale::runtime {

RankMixer::RankMixer(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                     const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels) {
  num_segments_ = options.number("segments", 1, width());
  US_REQUIRE(width() % num_segments_ == 0,
             fmt::format("{}: segments: expected a divisor of token_dim {}, got {}", options.where(), width(),
                         num_segments_));
  if (num_segments_ != num_tokens()) {
    segments_ = load_by_token(this->weights(), "mixer.segment", num_segments_, width(), segment_width(), true,
                              {}, precision());
    request_segments_ = num_request_tokens() * width() / segment_width();
  }
  const int64_t hidden = options.number("ffn_ratio", 1, 64) * width();
  for (int64_t l = 0; l < options.number("num_layers", 0, 64); ++l) {
    const std::string name = fmt::format("mixer.{}.", l);
    layers_.push_back(
        {LayerNorm(this->weights(), name + "mix_norm", width()),
         TokenFfn(this->weights(), name + "ffn", num_segments_, width(), hidden, {}, precision()),
         LayerNorm(this->weights(), name + "ffn_norm", width())});
  }
  load_heads(options, width());
}

void RankMixer::prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                              RequestState::Impl& kept) const {
  const int64_t rows = batch.num_requests, tokens = num_request_tokens(), size = segment_width();
  float* projected = nullptr;  // [request_segments, rows, D]
  if (request_segments_ > 0) {
    auto* joined = compute.arena.take<float>(rows * tokens * width());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t t = 0; t < tokens; ++t)
        std::copy_n(x + (t * rows + r) * width(), width(), joined + (r * tokens + t) * width());
    projected = kept.arena.take<float>(request_segments_ * rows * width());
    std::byte* operands = compute.take_operands(rows, size);
    for (int64_t s = 0; s < request_segments_; ++s) {
      compute.kernels.to_operands(joined + s * size, rows, size, tokens * width(), operands,
                                  operand_width(size));
      segments_[static_cast<size_t>(s)](compute, {operands, 1, rows, size},
                                        {.data = projected + s * rows * width(), .stride = width()});
    }
  }
  kept.parts.push_back(projected);
}

void RankMixer::cut_segments(const Compute& compute, const Block& block, float* x) const {
  const ArenaScope scope(compute.arena);
  const int64_t rows = block.rows, dim = width(), size = segment_width();
  const auto of_requests = [&](const float* from, int64_t count) {
    for (int64_t s = 0; s < count; ++s)
      for (int64_t r = 0; r < rows; ++r, x += dim)
        std::copy_n(from + (s * block.num_requests + block.request_of[r]) * dim, dim, x);
  };
  if (segments_.empty()) {
    of_requests(block.request_x, num_request_tokens());
    std::copy_n(block.x, num_candidate_tokens() * rows * dim, x);
    return;
  }
  of_requests(static_cast<const float*>(block.parts[0]), request_segments_);
  const float* joined = join_rows(compute, block);
  std::byte* operands = compute.take_operands(rows, size);
  for (int64_t s = request_segments_; s < num_segments_; ++s, x += rows * dim) {
    compute.kernels.to_operands(joined + s * size, rows, size, num_tokens() * dim, operands,
                                operand_width(size));
    segments_[static_cast<size_t>(s)](compute, {operands, 1, rows, size}, {.data = x, .stride = dim});
  }
}

void RankMixer::score_block(const Compute& compute, const Block& block, float* z) const {
  const int64_t rows = block.rows, dim = width(), part = dim / num_segments_;
  auto* x = compute.arena.take<float>(num_segments_ * rows * dim);
  auto* y = compute.arena.take<float>(num_segments_ * rows * dim);
  cut_segments(compute, block, x);
  for (const Layer& layer : layers_) {
    const ArenaScope scope(compute.arena);
    // Mixed token h has part h of every token.
    for (int64_t h = 0; h < num_segments_; ++h)
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t s = 0; s < num_segments_; ++s) {
          const int64_t to = (h * rows + r) * dim + s * part;
          const float* from = x + (s * rows + r) * dim + h * part;
          for (int64_t i = 0; i < part; ++i) y[to + i] = from[i] + x[to + i];
        }
    layer.mix_norm(y, num_segments_ * rows);
    const std::byte* operands = as_operands(compute, y, num_segments_ * rows, dim);
    for (int64_t s = 0; s < num_segments_; ++s)
      layer.ffn(compute, s, {operands + s * rows * operand_width(dim) * compute.operand_size(), 1, rows, dim},
                {.data = x + s * rows * dim, .stride = dim, .add = y + s * rows * dim, .add_stride = dim});
    layer.ffn_norm(x, num_segments_ * rows);
  }
  std::fill_n(z, rows * dim, 0.0F);
  for (int64_t s = 0; s < num_segments_; ++s)
    for (int64_t i = 0; i < rows * dim; ++i) z[i] += x[s * rows * dim + i];
  for (int64_t i = 0; i < rows * dim; ++i) z[i] /= static_cast<float>(num_segments_);
}

double RankMixer::request_flops() const {
  return segments_.empty() ? 0 : static_cast<double>(request_segments_) * segments_[0].flops();
}

double RankMixer::candidate_flops() const {
  double sum =
      segments_.empty() ? 0 : static_cast<double>(num_segments_ - request_segments_) * segments_[0].flops();
  for (const Layer& layer : layers_) sum += static_cast<double>(num_segments_) * layer.ffn.flops();
  return sum;
}

}  // namespace uniscale::runtime
