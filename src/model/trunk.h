// The MLP over concatenated tokens of the baselines:  trunk(x) = relu(W_L … relu(W_0 x + b_0) …)
#pragma once

#include <vector>

#include "model/layers.h"
#include "model/options.h"

namespace uniscale::model {

class Trunk {
 public:
  // Widths in → options.trunk. Parameters `trunk.<i>.weight`, `.bias`.
  Trunk(const Options& options, int64_t in, at::Generator& generator, at::ScalarType dtype,
        std::vector<Parameter>& parameters);
  // x [B, in] → [B, last width].
  at::Tensor operator()(at::Tensor x) const;
  // x = [request; candidate], request [R, a], candidate [C, in − a] → [C, last width]; W_0's request part is
  // computed once a request.
  at::Tensor split(const at::Tensor& request, const at::Tensor& candidate,
                   const at::Tensor& request_of) const;
  double flops() const;
  // Of W_0, for `from_request` of its columns.
  double request_flops(int64_t from_request) const {
    return 2.0 * static_cast<double>(layers_[0].weight().size(0) * from_request);
  }
  int64_t out() const { return layers_.back().weight().size(0); }

 private:
  std::vector<Linear> layers_;
};

// g ⊙ (x − mean(x)) / sqrt(var(x) + 1e-5) + b over the last dimension; `<name>.gain`, `<name>.bias`.
class LayerNorm {
 public:
  LayerNorm(const std::string& name, int64_t width, at::ScalarType dtype, std::vector<Parameter>& parameters);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor gain_, bias_;
};

// Weights of a per-token FFN:  ffn_i(y) = W1_i gelu(W0_i y + b0_i) + b1_i, `<name>.0.weight` [T, hidden, D] …
class TokenFfn {
 public:
  TokenFfn(const std::string& name, int64_t num_tokens, int64_t dim, int64_t hidden, at::Generator& generator,
           at::ScalarType dtype, std::vector<Parameter>& parameters);
  // y [B, n, D]: tokens [first, first + n).
  at::Tensor operator()(const at::Tensor& y, int64_t first = 0) const;
  // Of one token.
  double flops() const { return 4.0 * static_cast<double>(weight_[0].size(1) * weight_[0].size(2)); }

 private:
  at::Tensor weight_[2], bias_[2];
};

}  // namespace uniscale::model
