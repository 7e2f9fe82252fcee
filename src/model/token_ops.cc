#include "model/token_ops.h"

#include <ATen/ATen.h>

#include <cmath>

namespace uniscale::model {
namespace {

constexpr double kRmsEpsilon = 1e-6;

// [B, T, D] → [B, H, T, D/H]
at::Tensor split_heads(const at::Tensor& x, int64_t num_heads) {
  return x.unflatten(2, {num_heads, x.size(2) / num_heads}).transpose(1, 2);
}

}  // namespace

at::Tensor per_token_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor by_token = x.transpose(0, 1);  // [T, B, in]
  const at::Tensor w = weight.transpose(1, 2);    // [T, in, out]
  const at::Tensor y = bias.defined() ? at::baddbmm(bias.unsqueeze(1), by_token, w) : at::bmm(by_token, w);
  return y.transpose(0, 1);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain) {
  const at::Tensor wide = x.to(gain.scalar_type());
  return wide * at::rsqrt(wide.square().mean(-1, true) + kRmsEpsilon) * gain;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t num_heads) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2) / num_heads));
  const at::Tensor scores =
      at::matmul(split_heads(q * scale, num_heads), split_heads(k, num_heads).transpose(2, 3));
  const at::Tensor shares = at::softmax(scores, -1);  // [B, H, T_q, T_k]
  return at::matmul(shares, split_heads(v, num_heads)).transpose(1, 2).flatten(2);
}

double attention_flops(int64_t queries, int64_t keys, int64_t dim) {
  return 4.0 * static_cast<double>(queries) * static_cast<double>(keys) * static_cast<double>(dim);
}

at::Tensor request_attention(const at::Tensor& q, const at::Tensor& request_k, const at::Tensor& request_v,
                             const at::Tensor& k, const at::Tensor& v, const at::Tensor& request_of,
                             int64_t num_heads) {
  return attention(q, join_sides(request_k, k, request_of), join_sides(request_v, v, request_of), num_heads);
}

at::Tensor split_linear(const at::Tensor& request, const at::Tensor& candidate, const at::Tensor& weight,
                        const at::Tensor& bias, const at::Tensor& request_of) {
  const int64_t from_request = request.size(1), from_candidate = candidate.size(1);
  if (from_request == 0) return at::linear(candidate, weight, bias);
  const at::Tensor of_request =
      at::linear(request, weight.narrow(1, 0, from_request), bias).index_select(0, request_of);
  if (from_candidate == 0) return of_request;
  return of_request + at::linear(candidate, weight.narrow(1, from_request, from_candidate));
}

at::Tensor join_sides(const at::Tensor& request, const at::Tensor& candidate, const at::Tensor& request_of) {
  if (request.size(1) == 0) return candidate;
  return at::cat({request.index_select(0, request_of), candidate}, 1);
}

at::Tensor uniform_parameter(const std::string& name, at::IntArrayRef shape, int64_t fan_in,
                             at::Generator& generator, at::ScalarType dtype,
                             std::vector<Parameter>& parameters) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  at::Tensor value = at::empty(shape, at::TensorOptions().dtype(dtype));
  value.uniform_(-bound, bound, generator);
  value.requires_grad_(true);
  parameters.push_back({name, value, true});
  return value;
}

at::Tensor gain_parameter(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype,
                          std::vector<Parameter>& parameters) {
  at::Tensor value = at::ones(shape, at::TensorOptions().dtype(dtype));
  value.requires_grad_(true);
  parameters.push_back({name, value, false});
  return value;
}

}  // namespace uniscale::model
