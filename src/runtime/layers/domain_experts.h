// DREF and DAPGA of the search domain (docs/formats/weights.md, UniScale §2.4, §2.5): of the first bank only
// the shared and the search domain's expert run, of the second bank all.
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

class Dref {
 public:
  struct Options {
    int64_t in = 0;
    std::vector<int64_t> expert, gate;  // expert: the last is the width out; gate: hidden widths
    bool routed = true;                 // false: the shared expert alone
  };
  Dref(const bundle::SafetensorsFile& file, const std::string& domain, const Options& options,
       Precision precision);
  // z: operands [rows, in] → e [rows, operand_width(out())], operands or, with `floats`, fp32.
  void operator()(const Compute& compute, const OperandTokens& z, void* e, bool floats) const;
  int64_t out() const { return shared_.out(); }
  double flops() const { return shared_.flops() + expert_.flops() + gate_.flops(); }

 private:
  bool routed_;
  Mlp shared_, expert_, gate_;
};

class Dapga {
 public:
  struct Options {
    int64_t in = 0;
    std::vector<int64_t> expert, gate;  // expert: the last is d_a; gate: hidden widths
    int64_t gate_in = 0;
  };
  Dapga(const bundle::SafetensorsFile& file, const std::vector<std::string>& domains, const Options& options,
        Precision precision);
  // Gate tokens side by side, operands [rows, gate_in] → gate [rows, out()].
  void gate(const Compute& compute, const OperandTokens& tokens, float* gate) const;
  // e: operands [rows, in] → o [rows, out()] fp32. The first domain is the candidates' own.
  void operator()(const Compute& compute, const OperandTokens& e, const float* gate,
                  const int32_t* request_of, float* o) const;
  int64_t out() const { return value_.out(); }
  double gate_flops() const { return gate_.flops(); }
  double flops() const;

 private:
  std::vector<Mlp> experts_;  // by domain
  // (query u_t) · (key u_k) = (keyᵀ query u_t) · u_k and Σ w_k (value u_k) = value (Σ w_k u_k): two products
  // in place of 2 N + 1.
  Linear read_, value_;
  Mlp gate_;
};

}  // namespace uniscale::runtime
