// Global feature attention (paper §2.3): all tokens at once are projected to m composite queries, keys and
// values.
//   a = [rms(x_1); …; rms(x_n)] ∈ R^{n·w}
//   Q, K, V = Ŵ^Q a, Ŵ^K a, Ŵ^V a ∈ R^{m×G};  Ŵ full, or up · down of rank r, joint over the heads
//   y = MHSA(Q, K, V) + skip
// a's request-side part is the same for every candidate of a request, so its share of each projection is
// computed once a request, exactly (§2.11).
#pragma once

#include <string>
#include <vector>

#include "model/hfa.h"

namespace uniscale::model {

// Ŵ: [in] → [out], from both sides' numbers.
class CompositeProjection {
 public:
  // rank 0: `<name>.weight` [out, in]; else `<name>.0.weight` [rank, in] and `<name>.1.weight` [out, rank].
  CompositeProjection(const std::string& name, int64_t in, int64_t out, int64_t rank,
                      at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters);
  // request [R, a], candidate [C, in − a] → [C, out].
  at::Tensor operator()(const at::Tensor& request, const at::Tensor& candidate,
                        const at::Tensor& request_of) const;
  const at::Tensor& first() const { return first_; }    // [rank or out, in]
  const at::Tensor& second() const { return second_; }  // [out, rank], or undefined
  // With `from_request` of the inputs on the request side.
  Flops flops(int64_t from_request) const;

 private:
  at::Tensor first_, second_;  // second_ undefined: full rank
};

class GfaLayer {
 public:
  // n tokens of width w come in. Throws UserError if gfa_skip = identity does not fit.
  GfaLayer(const std::string& name, const Options& options, int64_t num_tokens, int64_t width,
           at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters);
  // → request [R, 0, G], candidate [C, m, G].
  Tokens operator()(const Tokens& x, const at::Tensor& request_of) const;
  int64_t num_tokens() const { return num_composite_; }  // m
  // With `num_request` of the tokens on the request side.
  Flops flops(int64_t num_request) const;

 private:
  // The attention's output [C, m, G], two ways.
  at::Tensor fast_attended(const Tokens& x, const at::Tensor& request_of) const;
  at::Tensor plain_attended(const Tokens& x, const at::Tensor& request_of) const;

  enum class Skip { Identity, Linear, None };
  int64_t num_composite_, dim_, num_heads_, width_;
  Skip skip_;
  at::Tensor gain_;
  std::vector<CompositeProjection> projections_;  // query, key, value
  std::vector<CompositeProjection> skip_map_;     // one, with Skip::Linear
};

}  // namespace uniscale::model
