// Counts the multiply-adds × 2 of the matrix products that torch really runs on this thread.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <memory>
#include <string_view>

namespace uniscale::model {

class FlopCounter {
 public:
  FlopCounter() {
    total() = 0;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&FlopCounter::start)
                                             .needsInputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~FlopCounter() { at::removeCallback(handle_); }
  FlopCounter(const FlopCounter&) = delete;
  FlopCounter& operator=(const FlopCounter&) = delete;
  double flops() const { return total(); }

 private:
  static double& total() {
    static thread_local double sum = 0;
    return sum;
  }
  static std::unique_ptr<at::ObserverContext> start(const at::RecordFunction& function) {
    const std::string_view name = function.name();
    const bool with_sum = name == "aten::addmm" || name == "aten::baddbmm";
    if (with_sum || name == "aten::mm" || name == "aten::bmm" || name == "aten::mv") {
      const size_t first = with_sum ? 1 : 0;
      const at::Tensor a = function.inputs()[first].toTensor(), b = function.inputs()[first + 1].toTensor();
      total() += 2.0 * static_cast<double>(a.numel()) * static_cast<double>(b.dim() > 1 ? b.size(-1) : 1);
    }
    return nullptr;
  }
  at::CallbackHandle handle_;
};

}  // namespace uniscale::model
