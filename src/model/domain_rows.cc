#include "model/domain_rows.h"

#include <ATen/ATen.h>

namespace uniscale::model {

at::Tensor by_domain(const BatchTensors& batch, const at::Tensor& x, int64_t width,
                     const std::function<at::Tensor(size_t, const at::Tensor&)>& layer) {
  at::Tensor out;
  for (size_t d = 0; d < batch.candidates_of_domain.size(); ++d) {
    const at::Tensor& candidates = batch.candidates_of_domain[d];
    if (!candidates.defined()) continue;
    if (candidates.size(0) == batch.num_candidates) return layer(d, x);
    const at::Tensor own = layer(d, x.index_select(0, candidates));
    if (!out.defined()) out = at::zeros({batch.num_candidates, width}, own.options());
    out = out.index_add(0, candidates, own);
  }
  return out.defined() ? out : at::zeros({batch.num_candidates, width}, x.options());
}

}  // namespace uniscale::model
