// GFA (docs/formats/weights.md, UniScale §2.3): all tokens side by side are projected to m composite tokens,
// which attend each other. The tokens of the request's side enter every projection through a part that is
// computed once a request; exact.
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/composite_projection.h"

namespace uniscale::runtime {

enum class GfaSkip { None, Identity, Linear };

struct GfaOptions {
  int64_t num_shared = 0, num_own = 0, width = 0;        // tokens that come in
  int64_t num_tokens = 0, out_width = 0, num_heads = 0;  // composite tokens
  int64_t rank_qk = 0, rank_v = 0;                       // 0: full rank
  GfaSkip skip = GfaSkip::Identity;
};

class GfaLayer {
 public:
  GfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const GfaOptions& options,
           Precision precision);
  // Floats of a request's part.
  int64_t part_width() const;
  // x [num_shared, rows, width] → part [part_width() · rows].
  void shared_part(const Compute& compute, const float* x, int64_t rows, float* part) const;
  // x [num_own, rows, width], and of the requests: x_shared [num_shared, num_requests, width] and their part
  // (both null without shared tokens) → y [num_tokens, rows, out_width].
  void operator()(const Compute& compute, const float* x, int64_t rows, const float* x_shared,
                  const float* part, int64_t num_requests, const int32_t* request_of, float* y) const;
  double shared_flops() const;
  double own_flops() const;

 private:
  GfaOptions options_;
  CompositeProjection projections_[3];  // query, key, value
  SplitLinear skip_;
};

}  // namespace uniscale::runtime
