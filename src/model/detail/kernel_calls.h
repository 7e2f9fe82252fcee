// From tensors to the arguments of runtime's training kernels.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <functional>
#include <memory>
#include <new>

#include "runtime/kernels/training.h"

namespace uniscale::model::detail {

const runtime::TrainingKernels& training_kernels(runtime::Precision precision);
// That of autocast.
runtime::Precision current_precision();
inline at::ScalarType operand_type(runtime::Precision precision) {
  return precision == runtime::Precision::Fp32 ? at::kFloat : at::kBFloat16;
}

// At least `bytes` of this thread's memory, 64-byte aligned, valid until the next call on the thread.
std::byte* thread_scratch(int64_t bytes);

inline std::byte* bytes_of(const at::Tensor& x) { return static_cast<std::byte*>(x.data_ptr()); }
inline float* floats_of(const at::Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

// x [B, T, width], contiguous in the last dimension: the rows of token t.
inline runtime::Rows rows_of(const at::Tensor& x, int64_t t) {
  if (!x.defined()) return {};
  return {bytes_of(x) + t * x.stride(1) * x.element_size(), x.scalar_type() == at::kFloat, x.stride(0)};
}
// x [B, width].
inline runtime::Rows rows_of(const at::Tensor& x) {
  if (!x.defined()) return {};
  return {bytes_of(x), x.scalar_type() == at::kFloat, x.stride(0)};
}

}  // namespace uniscale::model::detail
