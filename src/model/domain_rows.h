// Each candidate through its own domain's layers, absent domains untouched: they get no gradient at all.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "model/embedding_tables.h"

namespace uniscale::model {

// x [C, in] → [C, width]: the rows of every domain that the batch has go through `layer(domain, rows)`, which
// gives [rows, width].
at::Tensor by_domain(const BatchTensors& batch, const at::Tensor& x, int64_t width,
                     const std::function<at::Tensor(size_t, const at::Tensor&)>& layer);

}  // namespace uniscale::model
