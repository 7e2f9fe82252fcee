// The search domain's heads, one MLP a task, always in fp32, and probabilities from their logits.
#pragma once

#include <string>
#include <vector>

#include "runtime/layers/mlp.h"

namespace uniscale::runtime {

class Heads {
 public:
  // `head.<domain>.<task>.<i>`: in → hidden… → 1, ReLU inside.
  Heads(const bundle::SafetensorsFile& file, const std::string& domain, const std::vector<std::string>& tasks,
        int64_t in, const std::vector<int64_t>& hidden, Isa isa);
  // x [rows, in] fp32 → out[task][at … at + rows): click σ(a); cart and purchase σ(a)·σ(b) (docs/model.md).
  void operator()(Arena& arena, const float* x, int64_t rows, int64_t x_stride, int64_t at,
                  std::vector<std::vector<float>>& out) const;
  double flops() const;

 private:
  const Kernels* kernels_;  // fp32
  int64_t in_;
  std::vector<Mlp> heads_;
};

// Sizes `heads` to [num_tasks][rows] without giving memory back.
void resize_scores(std::vector<std::vector<float>>& heads, size_t num_tasks, int64_t rows);

}  // namespace uniscale::runtime
