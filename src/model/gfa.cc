#include "model/gfa.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "model/fast_ops.h"
#include "model/token_ops.h"

namespace uniscale::model {

CompositeProjection::CompositeProjection(const std::string& name, int64_t in, int64_t out, int64_t rank,
                                         at::Generator& generator, at::ScalarType dtype,
                                         std::vector<Parameter>& parameters) {
  if (rank == 0) {
    first_ = uniform_parameter(name + ".weight", {out, in}, in, generator, dtype, parameters);
    return;
  }
  first_ = uniform_parameter(name + ".0.weight", {rank, in}, in, generator, dtype, parameters);
  second_ = uniform_parameter(name + ".1.weight", {out, rank}, rank, generator, dtype, parameters);
}

at::Tensor CompositeProjection::operator()(const at::Tensor& request, const at::Tensor& candidate,
                                           const at::Tensor& request_of) const {
  const at::Tensor y = split_linear(request, candidate, first_, {}, request_of);
  return second_.defined() ? at::linear(y, second_) : y;
}

Flops CompositeProjection::flops(int64_t from_request) const {
  const auto rows = static_cast<double>(first_.size(0));
  Flops out{2 * rows * static_cast<double>(from_request),
            2 * rows * static_cast<double>(first_.size(1) - from_request)};
  if (second_.defined()) out.candidate += 2 * static_cast<double>(second_.numel());
  return out;
}

GfaLayer::GfaLayer(const std::string& name, const Options& options, int64_t num_tokens, int64_t width,
                   at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters)
    : num_composite_(options.gfa_tokens == 0 ? num_tokens : options.gfa_tokens),
      dim_(options.gfa_dim),
      num_heads_(options.num_heads),
      width_(width),
      skip_(options.gfa_skip == "identity" ? Skip::Identity
            : options.gfa_skip == "linear" ? Skip::Linear
                                           : Skip::None) {
  US_REQUIRE(
      skip_ != Skip::Identity || (num_composite_ == num_tokens && dim_ == width),
      fmt::format("model.gfa_skip: identity needs as many and as wide tokens as come in, expected {} of "
                  "width {}, got {} of width {} (gfa_tokens, gfa_dim); linear fits any",
                  num_tokens, width, num_composite_, dim_));
  gain_ = gain_parameter(name + ".norm.gain", {num_tokens, width}, dtype, parameters);
  const auto projection = [&](const char* part, int64_t rank) {
    return CompositeProjection(name + part, num_tokens * width, num_composite_ * dim_, rank, generator, dtype,
                               parameters);
  };
  projections_.push_back(projection(".query", options.rank_qk));
  projections_.push_back(projection(".key", options.rank_qk));
  projections_.push_back(projection(".value", options.rank_v));
  if (skip_ == Skip::Linear) skip_map_.push_back(projection(".skip", 0));
}

at::Tensor GfaLayer::fast_attended(const Tokens& x, const at::Tensor& request_of) const {
  const int64_t from_request = x.request.size(1) * width_, from_candidate = x.candidate.size(1) * width_;
  const at::Tensor gain = gain_.flatten();
  std::vector<at::Tensor> firsts;
  std::vector<int64_t> sizes;
  for (const CompositeProjection& one : projections_) {
    firsts.push_back(one.first());
    sizes.push_back(one.first().size(0));
  }
  const at::Tensor first = at::cat(firsts, 0);  // all three read the same numbers
  LinearOutput output;
  if (from_request > 0) {
    output.add = fast_linear({x.request.flatten(1), gain.narrow(0, 0, from_request), width_},
                             first.narrow(1, 0, from_request), {}, {.floats = true});
    output.add_row = request_of;
  }
  const at::Tensor low =
      fast_linear({x.candidate.flatten(1), gain.narrow(0, from_request, from_candidate), width_},
                  first.narrow(1, from_request, from_candidate), {}, output);
  std::vector<at::Tensor> part = low.split_with_sizes(sizes, 1);  // Q, K, V [C, m · G]
  for (size_t i = 0; i < part.size(); ++i) {
    const at::Tensor& second = projections_[i].second();
    if (second.defined()) part[i] = fast_linear({part[i], {}, 0}, second, {}, {});
    part[i] = part[i].unflatten(1, {num_composite_, dim_});
  }
  return fast_attention(part[0], part[1], part[2], num_heads_);
}

at::Tensor GfaLayer::plain_attended(const Tokens& x, const at::Tensor& request_of) const {
  const int64_t num_request = x.request.size(1), num_candidate = x.candidate.size(1);
  const at::Tensor request = rms_norm(x.request, gain_.narrow(0, 0, num_request)).flatten(1);
  const at::Tensor candidate = rms_norm(x.candidate, gain_.narrow(0, num_request, num_candidate)).flatten(1);
  at::Tensor part[3];  // Q, K, V [C, m, G]
  for (size_t i = 0; i < 3; ++i)
    part[i] = projections_[i](request, candidate, request_of).unflatten(1, {num_composite_, dim_});
  return attention(part[0], part[1], part[2], num_heads_);
}

Tokens GfaLayer::operator()(const Tokens& x, const at::Tensor& request_of) const {
  const bool fast = uses_fast_ops(gain_);
  at::Tensor y = fast ? fast_attended(x, request_of) : plain_attended(x, request_of);
  if (skip_ == Skip::Identity) {
    y = fast ? fast_join_add(x.request, x.candidate, y, request_of)
             : join_sides(x.request, x.candidate, request_of) + y;
  }
  if (skip_ == Skip::Linear) {
    y = y + skip_map_[0](x.request.flatten(1), x.candidate.flatten(1), request_of)
                .unflatten(1, {num_composite_, dim_});
  }
  return {y.new_empty({x.request.size(0), 0, dim_}), y};
}

Flops GfaLayer::flops(int64_t num_request) const {
  Flops sum{0, attention_flops(num_composite_, num_composite_, dim_)};
  for (const auto* maps : {&projections_, &skip_map_}) {
    for (const CompositeProjection& one : *maps) {
      const Flops part = one.flops(num_request * width_);
      sum.request += part.request;
      sum.candidate += part.candidate;
    }
  }
  return sum;
}

}  // namespace uniscale::model
