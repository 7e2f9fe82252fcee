// g ⊙ (x − mean(x)) / √(var(x) + 1e-5) + b over a row, population variance; always in fp32.
#pragma once

#include <span>
#include <string>

#include "bundle/safetensors.h"

namespace uniscale::runtime {

class LayerNorm {
 public:
  // `<name>.gain`, `<name>.bias` [width], read where `file` maps them; it outlives this.
  LayerNorm(const bundle::SafetensorsFile& file, const std::string& name, int64_t width);
  // x [rows, width], in place.
  void operator()(float* x, int64_t rows) const;

 private:
  std::span<const float> gain_, bias_;
};

}  // namespace uniscale::runtime
