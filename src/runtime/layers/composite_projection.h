// A projection of all tokens side by side to composite tokens (HiFormer's, UniScale §2.3), full or of low
// rank; the part of the request's tokens is computed once a request, exactly.
#pragma once

#include <string>

#include "runtime/layers/linear.h"

namespace uniscale::runtime {

class CompositeProjection {
 public:
  struct Shape {
    int64_t num_shared = 0, num_own = 0, width = 0;  // tokens that come in
    int64_t out = 0;
    int64_t rank = 0;  // 0: full rank
  };
  CompositeProjection() = default;
  // `<name>.weight`, or with a rank `<name>.0.weight` and `<name>.1.weight`. `gain`: of a norm before, folded
  // into the columns.
  CompositeProjection(const bundle::SafetensorsFile& file, const std::string& name, const Shape& shape,
                      std::span<const float> gain, Precision precision);
  // x: the shared tokens → part [x.rows, part_width()].
  void shared_part(const Compute& compute, const OperandTokens& x, float* part) const {
    down_.shared_part(compute, x, part);
  }
  int64_t part_width() const { return down_.out(); }
  // x: the own tokens; `part` and `request_of` as SplitLinear has them → y: operands, rows `stride` apart.
  void operator()(const Compute& compute, const OperandTokens& x, const float* part,
                  const int32_t* request_of, void* y, int64_t stride) const;
  double shared_flops() const { return down_.shared_flops(); }
  double own_flops() const { return down_.own_flops() + (low_rank_ ? up_.flops() : 0); }

 private:
  SplitLinear down_;  // or the whole, at full rank
  Linear up_;
  bool low_rank_ = false;
};

}  // namespace uniscale::runtime
