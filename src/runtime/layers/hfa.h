// HFA (docs/formats/weights.md, UniScale §2.2): own projections and FFN for each token, ordinary attention in
// between.
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/token_ffn.h"

namespace uniscale::runtime {

struct HfaOptions {
  int64_t num_tokens = 0, width = 0, num_heads = 0, ffn_ratio = 0;
  // What comes after the attention (output projection, FFN) may be missing.
  bool finishes = true;
};

// Keys and values that several lists share: operands [num_tokens, num_lists, 3 · width], the queries', keys'
// and values' columns side by side; shared_list [rows] says which list a row reads (null: list = row).
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
  // Tokens [first, first + count) of x [count, rows, width], updated in place. They attend themselves (with
  // `causal`: those before them and itself) and `shared`. `qkv`: operands [count, rows, 3 · width], filled.
  void operator()(const Compute& compute, int64_t first, int64_t count, int64_t rows, float* x,
                  std::byte* qkv, const SharedKeys& shared, bool causal = false) const;

  // Its three steps. project: x → qkv.
  void project(const Compute& compute, int64_t first, int64_t count, int64_t rows, const float* x,
               std::byte* qkv) const;
  // qkv → attended, operands [count, rows, operand_width(width)].
  void attend(const Compute& compute, int64_t count, int64_t rows, const std::byte* qkv,
              const SharedKeys& shared, bool causal, std::byte* attended) const;
  // attended, x → x.
  void finish(const Compute& compute, int64_t first, int64_t count, int64_t rows, const std::byte* attended,
              float* x) const;

  // Of one token's products before and after the attention.
  double projection_flops() const { return qkv_[0].flops(); }
  double finishing_flops() const { return output_.empty() ? 0 : output_[0].flops() + ffn_.flops(); }
  double token_flops() const { return projection_flops() + finishing_flops(); }
  // Of one query's attention over `num_keys`.
  double attention_flops(int64_t num_keys) const;

 private:
  HfaOptions options_;
  std::vector<Linear> qkv_, output_;  // by token
  TokenFfn ffn_;
};

inline constexpr float kNormEpsilon = 1e-6F;

}  // namespace uniscale::runtime
