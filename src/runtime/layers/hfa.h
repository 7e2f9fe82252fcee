// HFA (docs/formats/weights.md, UniScale §2.2): own projections and FFN for each token, ordinary attention in
// between.
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

struct HfaOptions {
  int64_t num_tokens = 0, width = 0, num_heads = 0, ffn_ratio = 0;
};

// Keys and values that several lists share: operands [num_tokens, num_lists, 3 · width], the queries', keys'
// and values' columns side by side; shared_list [rows] says which list a row reads.
struct SharedKeys {
  const void* qkv = nullptr;
  int64_t num_tokens = 0, num_lists = 0;
  const int32_t* shared_list = nullptr;
};

class HfaLayer {
 public:
  // Tensors `<name>.qkv.weight` … with all tokens first.
  HfaLayer(const bundle::SafetensorsFile& file, const std::string& name, const HfaOptions& options,
           Precision precision);
  // Tokens [first, first + count) of x [count, rows, width], updated in place. They attend themselves and
  // `shared`. `qkv`: operands [count, rows, 3 · width], filled.
  void operator()(const Compute& compute, int64_t first, int64_t count, int64_t rows, float* x,
                  std::byte* qkv, const SharedKeys& shared) const;
  // Of one token's products.
  double token_flops() const;
  // Of one query's attention over `num_keys`.
  double attention_flops(int64_t num_keys) const;

 private:
  HfaOptions options_;
  std::vector<Linear> qkv_, output_, ffn_in_, ffn_out_;  // by token
};

inline constexpr float kNormEpsilon = 1e-6F;

}  // namespace uniscale::runtime
