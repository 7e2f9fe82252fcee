// Operations on a side's tokens, [rows, T, D]: what HFA, GFA and the per-token baselines are made of.
// Stateless.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "model/model.h"

namespace uniscale::model {

// x [B, T, in], weight [T, out, in], bias [T, out] or undefined → [B, T, out]:  y_i = W_i x_i + b_i.
at::Tensor per_token_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

// g_i ⊙ x_i / sqrt(mean(x_i²) + 1e-6), gain [T, D]; computed and returned in the gain's precision.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain);

// Multi-head attention, every query to every key: q [B, T_q, D], k and v [B, T_k, D] → [B, T_q, D].
//   a_i^h = Σ_j softmax_j(q_i^h · k_j^h / √(D/H)) v_j^h
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t num_heads);
// Multiply-adds × 2 of one row of the above.
double attention_flops(int64_t queries, int64_t keys, int64_t dim);

// The same with the keys of a candidate's request before its own: request_k, request_v [R, U, D] → [C, T_q,
// D].
at::Tensor request_attention(const at::Tensor& q, const at::Tensor& request_k, const at::Tensor& request_v,
                             const at::Tensor& k, const at::Tensor& v, const at::Tensor& request_of,
                             int64_t num_heads);

// W [x_r; x_c] + b, the first columns of W read the request: request [R, a], candidate [C, b], weight
// [out, a + b] → [C, out]. The request's part is computed once a request (paper §2.11).
at::Tensor split_linear(const at::Tensor& request, const at::Tensor& candidate, const at::Tensor& weight,
                        const at::Tensor& bias, const at::Tensor& request_of);

// [first; second] along the tokens, where `first` has a row a request: [R, U, D], [C, I, D] → [C, U + I, D].
at::Tensor join_sides(const at::Tensor& request, const at::Tensor& candidate, const at::Tensor& request_of);

// Adds a parameter: uniform in ±1/√fan_in, or filled.
at::Tensor uniform_parameter(const std::string& name, at::IntArrayRef shape, int64_t fan_in,
                             at::Generator& generator, at::ScalarType dtype,
                             std::vector<Parameter>& parameters);
at::Tensor gain_parameter(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype,
                          std::vector<Parameter>& parameters);

}  // namespace uniscale::model
