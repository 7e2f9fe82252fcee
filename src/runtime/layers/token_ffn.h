// A feed-forward net for each token:  ffn_i(y) = W1_i gelu(W0_i y + b0_i) + b1_i
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/linear.h"

namespace uniscale::runtime {

class TokenFfn {
 public:
  TokenFfn() = default;
  // `<name>.0.weight` [tokens, hidden, width], `<name>.0.bias`, `<name>.1.…`; `gain` [tokens, width] of a
  // norm before, or empty.
  TokenFfn(const bundle::SafetensorsFile& file, const std::string& name, int64_t tokens, int64_t width,
           int64_t hidden, std::span<const float> gain, Precision precision);
  // Of one token, many rows.
  void operator()(const Compute& compute, int64_t token, const OperandTokens& x, const Output& y) const;
  // Of one token and row.
  double flops() const { return in_[0].flops() + out_[0].flops(); }

 private:
  std::vector<Linear> in_, out_;
};

}  // namespace uniscale::runtime
