// Dense layers over named parameters.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "model/fast_ops.h"
#include "model/model.h"
#include "model/tokens.h"

namespace uniscale::model {

// y = x Wᵀ + b, W [out, in] from U(−1/√in, 1/√in), b likewise. Parameters `<name>.weight`, `<name>.bias`.
class Linear {
 public:
  Linear(const std::string& name, int64_t in, int64_t out, at::Generator& generator, at::ScalarType dtype,
         std::vector<Parameter>& parameters);
  at::Tensor operator()(const at::Tensor& x) const;
  double flops() const { return 2.0 * static_cast<double>(weight_.numel()); }
  const at::Tensor& weight() const { return weight_; }  // [out, in]
  const at::Tensor& bias() const { return bias_; }      // [out]

 private:
  at::Tensor weight_, bias_;
};

enum class Activation { Relu, Gelu };

// Linear layers with an activation between them, none after the last. Parameters `<name>.<i>.weight`, …
class Mlp {
 public:
  // `widths`: input, hidden…, output.
  Mlp(const std::string& name, const std::vector<int64_t>& widths, Activation activation,
      at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters);
  at::Tensor operator()(const at::Tensor& x) const;
  // Input [request; candidate]: request [R, a] and candidate [C, in − a] → [C, out]; the first layer's
  // request part is computed once a request (token_ops.h split_linear).
  at::Tensor split(const at::Tensor& request, const at::Tensor& candidate,
                   const at::Tensor& request_of) const;
  // The same of both sides' tokens, each rms(x_i) with its row of gain [n, D] and all side by side.
  at::Tensor normed_split(const Tokens& x, const at::Tensor& gain, const at::Tensor& request_of) const;
  double flops() const;
  at::ScalarType dtype() const { return layers_[0].weight().scalar_type(); }

 private:
  at::Tensor after_first(at::Tensor x) const;
  at::Tensor fast_split(const LinearInput& request, const LinearInput& candidate,
                        const at::Tensor& request_of) const;
  at::Tensor fast(const LinearInput& input, const at::Tensor& first_weight, LinearOutput first) const;
  std::vector<Linear> layers_;
  Activation activation_;
};

}  // namespace uniscale::model
