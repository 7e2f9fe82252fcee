#include "runtime/hhsft.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {
namespace {

// A token's weights are read once for so many candidates, whose activations stay in the second-level cache.
constexpr int32_t kBlockRows = 128;

using feature::Side;

}  // namespace

// What RequestState keeps, by place in its parts; R requests, U request-side tokens.
struct Hhsft::Prepared {
  enum Part : size_t { kTokens, kGate, kProjection, kFirstKeys };
  const float* x = nullptr;     // [U, R, D]: after HFA if shared, else the tokens
  const float* gate = nullptr;  // [R, d_a]
  const float* part = nullptr;  // of the first projection over all tokens
  int64_t num_requests = 0;
  std::span<void* const> keys;  // by layer: qkv [U, R, 3D]
};

Hhsft::Hhsft(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
             const ArchitectureOptions& options, const Kernels& kernels)
    : spec_(std::move(spec)), weights_(std::move(weights)), kernels_(kernels), tasks_(options.tasks()) {
  const Precision precision = kernels.precision;
  width_ = options.width("token_dim");
  tokenizer_ = std::make_unique<Tokenizer>(*weights_, spec_, width_, precision);
  num_request_tokens_ = tokenizer_->num_tokens(Side::Request);
  const bool isolated = options.choice("mask", {"user_isolated", "none"}) == "user_isolated";
  num_shared_ = isolated ? num_request_tokens_ : 0;
  num_own_ = num_request_tokens_ + tokenizer_->num_tokens(Side::Candidate) - num_shared_;
  US_REQUIRE(num_own_ > 0, options.where() + ": expected tokens on the candidate side, got none");
  load_layers(options);

  Dref::Options dref{
      .in = z_width_, .expert = options.widths("dref_expert", 1), .routed = options.flag("dref")};
  if (dref.routed) dref.gate = options.widths("dref_gate", 0);
  dref_ = std::make_unique<Dref>(*weights_, spec_.search_domain(), dref, precision);
  if (options.flag("dapga")) {
    Dapga::Options dapga{.in = dref_->out(),
                         .expert = options.widths("dapga_expert", 1),
                         .gate = options.widths("dapga_gate", 0)};
    US_REQUIRE(spec_.domains().size() <= MixArgs::kMaxValues,
               fmt::format("{}: expected at most {} domains, got {}", options.where(), MixArgs::kMaxValues,
                           spec_.domains().size()));
    load_gate(options, dapga);
    dapga_ = std::make_unique<Dapga>(*weights_, spec_.domains(), dapga, precision);
  }
  heads_ =
      std::make_unique<Heads>(*weights_, spec_.search_domain(), tasks_, dapga_ ? dapga_->out() : dref_->out(),
                              options.widths("head", 0), kernels.isa);
}

void Hhsft::load_layers(const ArchitectureOptions& options) {
  const Precision precision = kernels_.precision;
  const std::string& where = options.where();
  const int64_t num_tokens = num_shared_ + num_own_, num_heads = options.number("num_heads", 1, 1024);
  const auto check_heads = [&](const char* key, int64_t width) {
    US_REQUIRE(width % num_heads == 0, fmt::format("{}: {}: expected a multiple of num_heads {}, got {}",
                                                   where, key, num_heads, width));
    US_REQUIRE(
        precision == Precision::Fp32 || width / num_heads % 2 == 0,
        fmt::format("{}: {}: bf16 needs an even width of each head, got {}", where, key, width / num_heads));
  };
  check_heads("token_dim", width_);
  const HfaOptions hfa{.num_tokens = num_tokens,
                       .width = width_,
                       .num_heads = num_heads,
                       .ffn_ratio = options.number("ffn_ratio", 1, 64)};
  for (int64_t l = 0; l < options.number("num_layers", 0, 64); ++l)
    hfa_.emplace_back(*weights_, fmt::format("hfa.{}", l), hfa, precision);

  readout_tokens_ = num_tokens;
  readout_width_ = width_;
  if (options.flag("gfa")) {
    GfaOptions gfa{.num_shared = num_shared_,
                   .num_own = num_own_,
                   .width = width_,
                   .num_tokens = options.number("gfa_tokens", 1, 1024),
                   .out_width = options.width("gfa_dim"),
                   .num_heads = num_heads,
                   .rank_qk = options.number("rank_qk", 0, kMaxWidth),
                   .rank_v = options.number("rank_v", 0, kMaxWidth)};
    check_heads("gfa_dim", gfa.out_width);
    const std::string skip = options.choice("gfa_skip", {"none", "identity", "linear"});
    gfa.skip = skip == "none" ? GfaSkip::None : skip == "identity" ? GfaSkip::Identity : GfaSkip::Linear;
    for (int64_t g = 0; g < options.number("gfa_layers", 1, 64); ++g) {
      US_REQUIRE(gfa.skip != GfaSkip::Identity ||
                     (gfa.num_shared + gfa.num_own == gfa.num_tokens && gfa.width == gfa.out_width),
                 where + ": gfa_skip: identity needs as many tokens of the same width out as come in");
      gfa_.emplace_back(*weights_, fmt::format("gfa.{}", g), gfa, precision);
      gfa.num_shared = 0;
      gfa.num_own = gfa.num_tokens;
      gfa.width = gfa.out_width;
    }
    readout_tokens_ = gfa.num_tokens;
    readout_width_ = gfa.out_width;
  }

  const std::vector<int64_t> readout = options.widths("readout", 1);
  const auto gain =
      weights_->require("readout.norm.gain", bundle::DType::F32, {readout_tokens_, readout_width_}).f32();
  const int64_t shared = gfa_.empty() ? num_shared_ : 0;
  readout_first_ = SplitLinear(*weights_, "readout.0", readout[0], shared, readout_tokens_ - shared,
                               readout_width_, precision, gain, true);
  if (readout.size() > 1)
    readout_rest_.emplace(*weights_, "readout", readout, Activation::Gelu, precision, 1);
  z_width_ = readout.back();
}

void Hhsft::load_gate(const ArchitectureOptions& options, Dapga::Options& dapga) {
  const std::vector<int>& request_tokens = tokenizer_->tokens_of(Side::Request);
  for (const std::string& name : options.texts("gate_tokens")) {
    const auto at = std::find_if(request_tokens.begin(), request_tokens.end(),
                                 [&](int t) { return spec_.tokens()[static_cast<size_t>(t)].name == name; });
    US_REQUIRE(
        at != request_tokens.end(),
        fmt::format("{}: gate_tokens: expected tokens of the request's side, got {}", options.where(), name));
    gate_places_.push_back(at - request_tokens.begin());
  }
  US_REQUIRE(!gate_places_.empty(), options.where() + ": gate_tokens: expected at least one token");
  dapga.gate_in = static_cast<int64_t>(gate_places_.size()) * width_;
}

double Hhsft::flops(int64_t num_candidates) const {
  const auto shared = static_cast<double>(num_shared_), own = static_cast<double>(num_own_);
  double request = tokenizer_->flops(Side::Request) + (dapga_ ? dapga_->gate_flops() : 0);
  double candidate = tokenizer_->flops(Side::Candidate) + dref_->flops() + (dapga_ ? dapga_->flops() : 0) +
                     heads_->flops() + readout_first_.own_flops() +
                     (readout_rest_ ? readout_rest_->flops() : 0);
  if (num_shared_ > 0) request += readout_first_.shared_flops();
  for (const HfaLayer& layer : hfa_) {
    request += shared * (layer.token_flops() + layer.attention_flops(num_shared_));
    candidate += own * (layer.token_flops() + layer.attention_flops(num_shared_ + num_own_));
  }
  for (const GfaLayer& layer : gfa_) {
    request += layer.shared_flops();
    candidate += layer.own_flops();
  }
  return request + candidate * static_cast<double>(num_candidates);
}

void Hhsft::prepare(const feature::RequestBatch& batch, Workspace& workspace, RequestState& state) const {
  RequestState::Impl& kept = state.impl();
  Arena& arena = workspace.impl().arena;
  arena.reset();
  kept.arena.reset();
  const int64_t rows = batch.num_requests, num_tokens = num_request_tokens_, stride = operand_width(width_);
  kept.num_requests = rows;
  kept.parts.assign(Prepared::kFirstKeys + hfa_.size(), nullptr);
  if (num_tokens == 0) return;
  const Compute compute{kernels_, arena};
  auto* x = kept.arena.take<float>(num_tokens * rows * width_);
  kept.parts[Prepared::kTokens] = x;
  (*tokenizer_)(compute, Side::Request, batch, 0, rows, x);

  if (dapga_) {
    std::byte* tokens = compute.take_operands(static_cast<int64_t>(gate_places_.size()) * rows, width_);
    for (size_t i = 0; i < gate_places_.size(); ++i)
      kernels_.to_operands(x + gate_places_[i] * rows * width_, rows, width_, width_,
                           tokens + static_cast<int64_t>(i) * rows * stride * compute.operand_size(), stride);
    auto* gate = kept.arena.take<float>(rows * dapga_->out());
    dapga_->gate(compute, {tokens, static_cast<int64_t>(gate_places_.size()), rows, width_}, gate);
    kept.parts[Prepared::kGate] = gate;
  }
  if (num_shared_ == 0) return;

  for (size_t l = 0; l < hfa_.size(); ++l) {
    std::byte* qkv = kept.arena.take_bytes(num_tokens * rows * 3 * width_ * compute.operand_size());
    hfa_[l](compute, 0, num_tokens, rows, x, qkv, {});
    kept.parts[Prepared::kFirstKeys + l] = qkv;
  }
  if (!gfa_.empty()) {
    auto* part = kept.arena.take<float>(rows * gfa_[0].part_width());
    gfa_[0].shared_part(compute, x, rows, part);
    kept.parts[Prepared::kProjection] = part;
  } else {
    std::byte* operands = compute.take_operands(num_tokens * rows, width_);
    kernels_.rms_norm(x, num_tokens * rows, width_, width_, nullptr, kNormEpsilon, operands, stride);
    auto* part = kept.arena.take<float>(rows * readout_first_.out());
    readout_first_.shared_part(compute, {operands, num_tokens, rows, width_}, part);
    kept.parts[Prepared::kProjection] = part;
  }
}

void Hhsft::candidate_tokens(const Compute& compute, const feature::RequestBatch& batch,
                             const float* request_x, const CandidateBlock& block, float* x) const {
  const int64_t rows = block.rows();
  if (num_shared_ == 0) {
    for (int64_t t = 0; t < num_request_tokens_; ++t)
      for (int64_t r = 0; r < rows; ++r, x += width_)
        std::memcpy(x, request_x + (t * batch.num_requests + block.request_of[r]) * width_,
                    static_cast<size_t>(width_) * sizeof(float));
  }
  (*tokenizer_)(compute, Side::Candidate, batch, block.begin, block.end, x);
}

OperandTokens Hhsft::read_out(const Compute& compute, const float* x, const Prepared& prepared,
                              const CandidateBlock& block) const {
  const int64_t rows = block.rows();
  const float* in = x;
  for (size_t g = 0; g < gfa_.size(); ++g) {
    auto* y = compute.arena.take<float>(readout_tokens_ * rows * readout_width_);
    const bool first = g == 0;
    gfa_[g](compute, in, rows, first ? prepared.x : nullptr, first ? prepared.part : nullptr,
            prepared.num_requests, block.request_of, y);
    in = y;
  }
  const bool split = gfa_.empty() && num_shared_ > 0;
  const int64_t num_tokens = split ? num_own_ : readout_tokens_;
  std::byte* operands = compute.take_operands(num_tokens * rows, readout_width_);
  compute.kernels.rms_norm(in, num_tokens * rows, readout_width_, readout_width_, nullptr, kNormEpsilon,
                           operands, operand_width(readout_width_));
  const int64_t hidden_width = readout_first_.out();
  std::byte* hidden = compute.take_operands(rows, hidden_width);
  readout_first_(compute, {operands, num_tokens, rows, readout_width_}, split ? prepared.part : nullptr,
                 block.request_of,
                 {.data = hidden,
                  .stride = operand_width(hidden_width),
                  .operands = true,
                  .activation = readout_rest_ ? Activation::Gelu : Activation::None});
  if (!readout_rest_) return {hidden, 1, rows, hidden_width};
  std::byte* z = compute.take_operands(rows, z_width_);
  (*readout_rest_)(compute, {hidden, 1, rows, hidden_width},
                   {.data = z, .stride = operand_width(z_width_), .operands = true});
  return {z, 1, rows, z_width_};
}

void Hhsft::score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                             int32_t end, Workspace& workspace, Scores& out) const {
  const std::vector<void*>& parts = state.impl().parts;
  US_CHECK(
      parts.size() == Prepared::kFirstKeys + hfa_.size() && state.impl().num_requests == batch.num_requests,
      "a state of another ranker or batch");
  const Prepared prepared{.x = static_cast<const float*>(parts[Prepared::kTokens]),
                          .gate = static_cast<const float*>(parts[Prepared::kGate]),
                          .part = static_cast<const float*>(parts[Prepared::kProjection]),
                          .num_requests = batch.num_requests,
                          .keys = std::span<void* const>(parts).subspan(Prepared::kFirstKeys)};
  Arena& arena = workspace.impl().arena;
  arena.reset();
  const Compute compute{kernels_, arena};
  resize_scores(out.heads, tasks_.size(), end - begin);
  for_each_block(batch, begin, end, kBlockRows, arena, [&](const CandidateBlock& block) {
    const int64_t rows = block.rows();
    auto* x = arena.take<float>(num_own_ * rows * width_);
    candidate_tokens(compute, batch, prepared.x, block, x);
    {
      const ArenaScope scope(arena);
      std::byte* qkv = arena.take_bytes(num_own_ * rows * 3 * width_ * compute.operand_size());
      for (size_t l = 0; l < hfa_.size(); ++l)
        hfa_[l](compute, num_shared_, num_own_, rows, x, qkv,
                {.qkv = prepared.keys[l],
                 .num_tokens = num_shared_,
                 .num_lists = prepared.num_requests,
                 .shared_list = block.request_of});
    }
    const OperandTokens z = read_out(compute, x, prepared, block);
    const int64_t e_width = dref_->out();
    if (!dapga_) {
      auto* e = arena.take<float>(rows * operand_width(e_width));
      (*dref_)(compute, z, e, true);
      (*heads_)(arena, e, rows, operand_width(e_width), block.begin - begin, out.heads);
      return;
    }
    std::byte* e = compute.take_operands(rows, e_width);
    (*dref_)(compute, z, e, false);
    auto* o = arena.take<float>(rows * dapga_->out());
    (*dapga_)(compute, {e, 1, rows, e_width}, prepared.gate, block.request_of, o);
    (*heads_)(arena, o, rows, dapga_->out(), block.begin - begin, out.heads);
  });
}

}  // namespace uniscale::runtime
