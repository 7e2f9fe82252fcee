#include "model/hfa.h"

#include <ATen/ATen.h>

#include "model/fast_ops.h"
#include "model/token_ops.h"

namespace uniscale::model {

HfaLayer::HfaLayer(const std::string& name, const Options& options, int64_t num_tokens,
                   at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters)
    : num_tokens_(num_tokens),
      dim_(options.token_dim),
      num_heads_(options.num_heads),
      hidden_(options.ffn_ratio * options.token_dim),
      isolated_(options.mask == "user_isolated") {
  const auto weight = [&](const char* part, at::IntArrayRef shape, int64_t fan_in) {
    return uniform_parameter(name + part, shape, fan_in, generator, dtype, parameters);
  };
  const auto bias = [&](const char* part, int64_t width, int64_t fan_in) {
    const at::Tensor value = weight(part, {num_tokens, width}, fan_in);
    parameters.back().decays = false;
    return value;
  };
  attention_gain_ = gain_parameter(name + ".attention_norm.gain", {num_tokens, dim_}, dtype, parameters);
  qkv_ = weight(".qkv.weight", {num_tokens, 3 * dim_, dim_}, dim_);
  output_ = weight(".output.weight", {num_tokens, dim_, dim_}, dim_);
  ffn_gain_ = gain_parameter(name + ".ffn_norm.gain", {num_tokens, dim_}, dtype, parameters);
  ffn_weight_[0] = weight(".ffn.0.weight", {num_tokens, hidden_, dim_}, dim_);
  ffn_bias_[0] = bias(".ffn.0.bias", hidden_, dim_);
  ffn_weight_[1] = weight(".ffn.1.weight", {num_tokens, dim_, hidden_}, hidden_);
  ffn_bias_[1] = bias(".ffn.1.bias", dim_, hidden_);
}

Tokens HfaLayer::operator()(const Tokens& x, const at::Tensor& request_of) const {
  if (isolated_ && uses_fast_ops(qkv_) && fits_fast_hfa(dim_, num_heads_)) {
    return fast_hfa(x, request_of,
                    {attention_gain_,
                     qkv_,
                     output_,
                     ffn_gain_,
                     {ffn_weight_[0], ffn_weight_[1]},
                     {ffn_bias_[0], ffn_bias_[1]}},
                    num_heads_);
  }
  return isolated_ ? isolated(x, request_of) : all_to_all(x, request_of);
}

at::Tensor HfaLayer::project(const at::Tensor& x, int64_t first) const {
  const int64_t n = x.size(1);
  return per_token_linear(rms_norm(x, attention_gain_.narrow(0, first, n)), qkv_.narrow(0, first, n));
}

at::Tensor HfaLayer::finish(const at::Tensor& x, const at::Tensor& attended, int64_t first) const {
  const int64_t n = x.size(1);
  const auto of = [&](const at::Tensor& parameter) { return parameter.narrow(0, first, n); };
  const at::Tensor y = x + per_token_linear(attended, of(output_));
  const at::Tensor hidden =
      at::gelu(per_token_linear(rms_norm(y, of(ffn_gain_)), of(ffn_weight_[0]), of(ffn_bias_[0])));
  return y + per_token_linear(hidden, of(ffn_weight_[1]), of(ffn_bias_[1]));
}

Tokens HfaLayer::isolated(const Tokens& x, const at::Tensor& request_of) const {
  const int64_t num_request = x.request.size(1);
  Tokens out = x;
  std::vector<at::Tensor> request(3, x.request);  // q, k, v [R, U, D]
  if (num_request > 0) {
    request = project(x.request, 0).chunk(3, 2);
    out.request = finish(x.request, attention(request[0], request[1], request[2], num_heads_), 0);
  }
  if (x.candidate.size(1) > 0) {
    const std::vector<at::Tensor> own = project(x.candidate, num_request).chunk(3, 2);  // [C, I, D]
    const at::Tensor attended =
        request_attention(own[0], request[1], request[2], own[1], own[2], request_of, num_heads_);
    out.candidate = finish(x.candidate, attended, num_request);
  }
  return out;
}

Tokens HfaLayer::all_to_all(const Tokens& x, const at::Tensor& request_of) const {
  const int64_t num_request = x.request.size(1);
  const at::Tensor joined = join_sides(x.request, x.candidate, request_of);  // [C, T, D]
  at::Tensor qkv;
  if (x.candidate.size(1) > 0) qkv = project(x.candidate, num_request);
  if (num_request > 0) {
    const at::Tensor shared = project(x.request, 0);
    qkv = qkv.defined() ? join_sides(shared, qkv, request_of) : shared.index_select(0, request_of);
  }
  const std::vector<at::Tensor> part = qkv.chunk(3, 2);
  return {x.request.narrow(1, 0, 0), finish(joined, attention(part[0], part[1], part[2], num_heads_), 0)};
}

Flops HfaLayer::flops(int64_t num_request) const {
  const auto d = static_cast<double>(dim_);
  const double projection = 2 * 3 * d * d;
  const double rest = 2 * d * d + 2 * 2 * d * static_cast<double>(hidden_);
  const auto u = static_cast<double>(num_request), t = static_cast<double>(num_tokens_);
  if (!isolated_) {
    return {u * projection,
            (t - u) * projection + t * rest + attention_flops(num_tokens_, num_tokens_, dim_)};
  }
  return {u * (projection + rest) + attention_flops(num_request, num_request, dim_),
          (t - u) * (projection + rest) + attention_flops(num_tokens_ - num_request, num_tokens_, dim_)};
}

}  // namespace uniscale::model
