#include "model/model.h"

#include <ATen/ATen.h>

namespace uniscale::model {

int64_t Model::num_dense_parameters() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters()) count += parameter.value.numel();
  return count;
}

std::vector<at::Tensor> probabilities(const std::vector<at::Tensor>& logits) {
  std::vector<at::Tensor> out;
  const at::Tensor click = at::sigmoid(logits[0]);
  out.push_back(click);
  for (size_t t = 1; t < logits.size(); ++t) out.push_back(click * at::sigmoid(logits[t]));
  return out;
}

}  // namespace uniscale::model
