// The tokens of a batch, by side.
#pragma once

#include <ATen/core/Tensor.h>

namespace uniscale::model {

struct Tokens {
  at::Tensor request;    // [R, U, D]
  at::Tensor candidate;  // [C, I, D]
};

}  // namespace uniscale::model
