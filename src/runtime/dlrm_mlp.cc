#include "runtime/dlrm_mlp.h"

namespace uniscale::runtime {

DlrmMlp::DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                 const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels) {
  const std::vector<int64_t> widths = options.widths("trunk", 1);
  first_ = SplitLinear(this->weights(), "trunk.0", widths[0], num_request_tokens(), num_candidate_tokens(),
                       width(), precision(), {}, true);
  deep_ = widths.size() > 1;
  if (deep_) rest_ = Mlp(this->weights(), "trunk", widths, Activation::Relu, precision(), 1);
  load_heads(options, widths.back());
}

void DlrmMlp::prepare_parts(const Compute& compute, const feature::RequestBatch& batch, const float* x,
                            RequestState::Impl& kept) const {
  const int64_t rows = batch.num_requests, tokens = num_request_tokens();
  float* part = nullptr;
  if (tokens > 0) {
    part = kept.arena.take<float>(rows * first_.out());
    first_.shared_part(compute, {as_operands(compute, x, tokens * rows, width()), tokens, rows, width()},
                       part);
  }
  kept.parts.push_back(part);
}

void DlrmMlp::score_block(const Compute& compute, const Block& block, float* z) const {
  const int64_t rows = block.rows, tokens = num_candidate_tokens();
  const auto* part = static_cast<const float*>(block.parts[0]);
  const OperandTokens x{as_operands(compute, block.x, tokens * rows, width()), tokens, rows, width()};
  // The last layer of the trunk gives fp32 to the heads.
  const int64_t out = deep_ ? rest_.out() : first_.out();
  const Output last{.data = z, .stride = out, .activation = Activation::Relu};
  if (!deep_) return first_(compute, x, part, block.request_of, last);
  std::byte* hidden = compute.take_operands(rows, first_.out());
  first_(compute, x, part, block.request_of,
         {.data = hidden,
          .stride = operand_width(first_.out()),
          .operands = true,
          .activation = Activation::Relu});
  rest_(compute, {hidden, 1, rows, first_.out()}, last);
}

}  // namespace uniscale::runtime
