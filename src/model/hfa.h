// Heterogeneous feature attention (paper §2.2): every token has weights of its own, attention stands between.
//   q_i, k_i, v_i = W_i^QKV rms(x_i)
//   x_i ← x_i + W_i^O [a_i^1; …; a_i^H]
//   x_i ← x_i + W1_i gelu(W0_i rms(x_i) + b0_i) + b1_i
#pragma once

#include <string>
#include <vector>

#include "model/options.h"
#include "model/tokenizer.h"

namespace uniscale::model {

struct Flops {
  double request = 0, candidate = 0;  // of one row of that side
};

class HfaLayer {
 public:
  // T tokens, U of them on the request side. Parameters `<name>.qkv.weight`, … (docs/formats/weights.md).
  HfaLayer(const std::string& name, const Options& options, int64_t num_tokens, at::Generator& generator,
           at::ScalarType dtype, std::vector<Parameter>& parameters);
  // user_isolated: request-side tokens attend their side alone and stay one row a request. none: they attend
  // all, so what comes out stands on the candidate side, [C, T, D], and only the first layer's projection of
  // request-side tokens was shared.
  Tokens operator()(const Tokens& x, const at::Tensor& request_of) const;
  // With `num_request` tokens on the request side when they come in.
  Flops flops(int64_t num_request) const;

 private:
  Tokens isolated(const Tokens& x, const at::Tensor& request_of) const;
  Tokens all_to_all(const Tokens& x, const at::Tensor& request_of) const;
  // Of tokens [first, first + x.size(1)).
  at::Tensor project(const at::Tensor& x, int64_t first) const;  // [B, n, 3·D]
  at::Tensor finish(const at::Tensor& x, const at::Tensor& attended, int64_t first) const;

  int64_t num_tokens_, dim_, num_heads_, hidden_;
  bool isolated_;
  at::Tensor attention_gain_, qkv_, output_, ffn_gain_, ffn_weight_[2], ffn_bias_[2];
};

}  // namespace uniscale::model
