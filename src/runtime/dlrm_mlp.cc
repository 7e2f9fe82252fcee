#include "runtime/dlrm_mlp.h"

#include <fmt/format.h>

#include "base/error.h"
#include "runtime/candidate_blocks.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {
namespace {

constexpr int32_t kBlockRows = 128;

}  // namespace

DlrmMlp::DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                 const ArchitectureOptions& options, const Kernels& kernels)
    : spec_(std::move(spec)), weights_(std::move(weights)), kernels_(kernels), tasks_(options.tasks()) {
  token_dim_ = options.width("token_dim");
  const std::vector<int64_t> widths = options.widths("trunk", 1);
  const Precision precision = kernels.precision;
  US_REQUIRE(precision == Precision::Fp32 || token_dim_ % 2 == 0,
             fmt::format("{}: token_dim: bf16 needs an even width, got {}", options.where(), token_dim_));
  tokenizer_ = std::make_unique<Tokenizer>(*weights_, spec_, token_dim_, precision);
  first_ = SplitLinear(*weights_, "trunk.0", widths[0], tokenizer_->num_tokens(feature::Side::Request),
                       tokenizer_->num_tokens(feature::Side::Candidate), token_dim_, precision, {}, true);
  trunk_out_ = widths.back();
  deep_ = widths.size() > 1;
  if (deep_) trunk_ = Mlp(*weights_, "trunk", widths, Activation::Relu, precision, 1);
  heads_ = std::make_unique<Heads>(*weights_, spec_.search_domain(), tasks_, trunk_out_,
                                   options.widths("head", 0), kernels.isa);
}

double DlrmMlp::flops(int64_t num_candidates) const {
  return tokenizer_->flops(feature::Side::Request) + first_.shared_flops() +
         static_cast<double>(num_candidates) * (tokenizer_->flops(feature::Side::Candidate) +
                                                first_.own_flops() + trunk_.flops() + heads_->flops());
}

void DlrmMlp::prepare(const feature::RequestBatch& batch, Workspace& workspace, RequestState& state) const {
  RequestState::Impl& kept = state.impl();
  Arena& arena = workspace.impl().arena;
  arena.reset();
  kept.arena.reset();
  kept.num_requests = batch.num_requests;
  kept.parts.assign(1, nullptr);
  const int64_t num_tokens = tokenizer_->num_tokens(feature::Side::Request);
  if (num_tokens == 0) return;
  const Compute compute{kernels_, arena};
  const int64_t rows = batch.num_requests;
  auto* x = arena.take<float>(num_tokens * rows * token_dim_);
  (*tokenizer_)(compute, feature::Side::Request, batch, 0, rows, x);
  std::byte* operands = compute.take_operands(num_tokens * rows, token_dim_);
  kernels_.to_operands(x, num_tokens * rows, token_dim_, token_dim_, operands, operand_width(token_dim_));
  auto* part = kept.arena.take<float>(rows * first_.out());
  first_.shared_part(compute, {operands, num_tokens, rows, token_dim_}, part);
  kept.parts[0] = part;
}

void DlrmMlp::score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                               int32_t end, Workspace& workspace, Scores& out) const {
  const auto* part = static_cast<const float*>(state.impl().parts.at(0));
  Arena& arena = workspace.impl().arena;
  arena.reset();
  const Compute compute{kernels_, arena};
  resize_scores(out.heads, tasks_.size(), end - begin);
  for_each_block(batch, begin, end, kBlockRows, arena, [&](const CandidateBlock& block) {
    const int64_t rows = block.rows(), num_tokens = tokenizer_->num_tokens(feature::Side::Candidate);
    auto* x = arena.take<float>(num_tokens * rows * token_dim_);
    (*tokenizer_)(compute, feature::Side::Candidate, batch, block.begin, block.end, x);
    std::byte* operands = compute.take_operands(num_tokens * rows, token_dim_);
    kernels_.to_operands(x, num_tokens * rows, token_dim_, token_dim_, operands, operand_width(token_dim_));
    // The last layer of the trunk gives fp32 to the heads.
    auto* z = arena.take<float>(rows * trunk_out_);
    const Output last{.data = z, .stride = trunk_out_, .activation = Activation::Relu};
    const OperandTokens tokens{operands, num_tokens, rows, token_dim_};
    if (deep_) {
      std::byte* hidden = compute.take_operands(rows, first_.out());
      first_(compute, tokens, part, block.request_of,
             {.data = hidden,
              .stride = operand_width(first_.out()),
              .operands = true,
              .activation = Activation::Relu});
      trunk_(compute, {hidden, 1, rows, first_.out()}, last);
    } else {
      first_(compute, tokens, part, block.request_of, last);
    }
    (*heads_)(arena, z, rows, trunk_out_, block.begin - begin, out.heads);
  });
}

}  // namespace uniscale::runtime
