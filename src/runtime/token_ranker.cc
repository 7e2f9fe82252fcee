#include "runtime/token_ranker.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"
#include "runtime/candidate_blocks.h"

namespace uniscale::runtime {

using feature::Side;

namespace {

constexpr int32_t kBlockRows = 128;

}  // namespace

TokenRanker::TokenRanker(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                         const ArchitectureOptions& options, const Kernels& kernels)
    : spec_(std::move(spec)), weights_(std::move(weights)), kernels_(kernels), tasks_(options.tasks()) {
  width_ = options.width("token_dim");
  US_REQUIRE(kernels.precision == Precision::Fp32 || width_ % 2 == 0,
             fmt::format("{}: token_dim: bf16 needs an even width, got {}", options.where(), width_));
  tokenizer_ = std::make_unique<Tokenizer>(*weights_, spec_, width_, kernels.precision);
}

void TokenRanker::load_heads(const ArchitectureOptions& options, int64_t z_width) {
  z_width_ = z_width;
  heads_ = std::make_unique<Heads>(*weights_, spec_.search_domain(), tasks_, z_width,
                                   options.widths("head", 0), kernels_.isa);
}

int64_t TokenRanker::num_attention_heads(const ArchitectureOptions& options) const {
  const int64_t num_heads = options.number("num_heads", 1, 1024);
  US_REQUIRE(width_ % num_heads == 0,
             fmt::format("{}: token_dim: expected a multiple of num_heads {}, got {}", options.where(),
                         num_heads, width_));
  US_REQUIRE(precision() == Precision::Fp32 || width_ / num_heads % 2 == 0,
             fmt::format("{}: token_dim: bf16 needs an even width of each head, got {}", options.where(),
                         width_ / num_heads));
  return num_heads;
}

double TokenRanker::flops(int64_t num_candidates) const {
  return tokenizer_->flops(Side::Request) + request_flops() +
         static_cast<double>(num_candidates) *
             (tokenizer_->flops(Side::Candidate) + candidate_flops() + heads_->flops());
}

void TokenRanker::prepare(const feature::RequestBatch& batch, Workspace& workspace,
                          RequestState& state) const {
  RequestState::Impl& kept = state.impl();
  Arena& arena = workspace.impl().arena;
  arena.reset();
  kept.arena.reset();
  kept.num_requests = batch.num_requests;
  const Compute compute{kernels_, arena};
  auto* x = kept.arena.take<float>(num_request_tokens() * batch.num_requests * width_);
  kept.parts.assign(1, x);
  (*tokenizer_)(compute, Side::Request, batch, 0, batch.num_requests, x);
  prepare_parts(compute, batch, x, kept);
}

void TokenRanker::score_candidates(const feature::RequestBatch& batch, const RequestState& state,
                                   int32_t begin, int32_t end, Workspace& workspace, Scores& out) const {
  const RequestState::Impl& kept = state.impl();
  US_CHECK(!kept.parts.empty() && kept.num_requests == batch.num_requests, "a state of another batch");
  Arena& arena = workspace.impl().arena;
  arena.reset();
  const Compute compute{kernels_, arena};
  resize_scores(out.heads, tasks_.size(), end - begin);
  for_each_block(batch, begin, end, kBlockRows, arena, [&](const CandidateBlock& candidates) {
    const int64_t rows = candidates.rows();
    auto* x = arena.take<float>(num_candidate_tokens() * rows * width_);
    (*tokenizer_)(compute, Side::Candidate, batch, candidates.begin, candidates.end, x);
    auto* z = arena.take<float>(rows * z_width_);
    score_block(compute,
                {.rows = rows,
                 .request_of = candidates.request_of,
                 .x = x,
                 .request_x = static_cast<const float*>(kept.parts[0]),
                 .num_requests = kept.num_requests,
                 .parts = std::span<void* const>(kept.parts).subspan(1)},
                z);
    (*heads_)(arena, z, rows, z_width_, candidates.begin - begin, out.heads);
  });
}

float* TokenRanker::join_rows(const Compute& compute, const Block& block) const {
  const int64_t from_request = num_request_tokens(), own = num_candidate_tokens();
  auto* joined = compute.arena.take<float>(block.rows * num_tokens() * width_);
  const size_t size = static_cast<size_t>(width_) * sizeof(float);
  float* to = joined;
  for (int64_t r = 0; r < block.rows; ++r) {
    for (int64_t t = 0; t < from_request; ++t, to += width_)
      std::memcpy(to, block.request_x + (t * block.num_requests + block.request_of[r]) * width_, size);
    for (int64_t t = 0; t < own; ++t, to += width_)
      std::memcpy(to, block.x + (t * block.rows + r) * width_, size);
  }
  return joined;
}

std::byte* TokenRanker::as_operands(const Compute& compute, const float* x, int64_t rows,
                                    int64_t width) const {
  std::byte* operands = compute.take_operands(rows, width);
  compute.kernels.to_operands(x, rows, width, width, operands, operand_width(width));
  return operands;
}

}  // namespace uniscale::runtime
