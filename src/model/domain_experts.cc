#include "model/domain_experts.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "model/domain_rows.h"
#include "model/token_ops.h"

namespace uniscale::model {
namespace {

std::vector<int64_t> widths_of(int64_t in, const std::vector<int64_t>& rest) {
  std::vector<int64_t> widths{in};
  widths.insert(widths.end(), rest.begin(), rest.end());
  return widths;
}

}  // namespace

Dref::Dref(const Options& options, const std::vector<std::string>& domains, int64_t in,
           at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters) {
  const std::vector<int64_t> widths = widths_of(in, options.dref_expert);
  shared_.emplace_back("dref.shared", widths, Activation::Gelu, generator, dtype, parameters);
  if (!options.dref) return;
  std::vector<int64_t> gate_widths = widths_of(in, options.dref_gate);
  gate_widths.push_back(2);
  for (const std::string& domain : domains) {
    experts_.emplace_back("dref.expert." + domain, widths, Activation::Gelu, generator, dtype, parameters);
    gates_.emplace_back("dref.gate." + domain, gate_widths, Activation::Gelu, generator, dtype, parameters);
  }
}

at::Tensor Dref::operator()(const at::Tensor& z, const BatchTensors& batch) const {
  const at::Tensor shared = shared_[0](z);
  if (experts_.empty()) return shared;
  // [C, d_e + 2]: the own expert and its gate's shares, [shared, own]
  const at::Tensor routed = by_domain(batch, z, shared.size(1) + 2, [&](size_t d, const at::Tensor& rows) {
    return at::cat({experts_[d](rows), at::softmax(gates_[d](rows), 1)}, 1);
  });
  const int64_t width = shared.size(1);
  return routed.narrow(1, width, 1) * shared + routed.narrow(1, width + 1, 1) * routed.narrow(1, 0, width);
}

double Dref::flops() const {
  double sum = shared_[0].flops();
  if (!experts_.empty()) sum += experts_[0].flops() + gates_[0].flops();
  return sum;
}

Dapga::Dapga(const Options& options, const std::vector<std::string>& domains, int64_t in, int64_t gate_in,
             at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters)
    : stop_before_(options.stop_gradient == "pre"),
      gate_stops_(options.gate_stop_gradient),
      isolation_(options.isolation) {
  const int64_t dim = options.dapga_expert.back();
  for (const std::string& domain : domains) {
    experts_.emplace_back("dapga.expert." + domain, widths_of(in, options.dapga_expert), Activation::Gelu,
                          generator, dtype, parameters);
  }
  const auto matrix = [&](const char* name) {
    return uniform_parameter(name, {dim, dim}, dim, generator, dtype, parameters);
  };
  query_ = matrix("dapga.query.weight");
  key_ = matrix("dapga.key.weight");
  value_ = matrix("dapga.value.weight");
  std::vector<int64_t> gate_widths = widths_of(gate_in, options.dapga_gate);
  gate_widths.push_back(dim);
  gate_.emplace_back("dapga.gate", gate_widths, Activation::Gelu, generator, dtype, parameters);
}

at::Tensor Dapga::partly_stopped(const at::Tensor& x) const {
  const at::Tensor stopped = x.detach();
  // The difference is exactly 0, so β changes no value, only the gradient.
  return isolation_ == 0.0 ? stopped : stopped + isolation_ * (x - stopped);
}

at::Tensor Dapga::foreign_expert(const at::Tensor& e, size_t domain) const {
  if (isolation_ > 0) return experts_[domain](e);
  const c10::NoGradGuard no_grad;
  return experts_[domain](e);
}

at::Tensor Dapga::attend(const at::Tensor& e, size_t own) const {
  const at::Tensor u = experts_[own](e);
  std::vector<at::Tensor> keys, values;  // by domain: [rows, d_a]
  for (size_t k = 0; k < experts_.size(); ++k) {
    if (k == own) {
      keys.push_back(at::linear(u, key_));
      values.push_back(at::linear(u, value_));
      continue;
    }
    const at::Tensor other = foreign_expert(e, k);
    if (stop_before_) {
      const at::Tensor stopped = partly_stopped(other);
      keys.push_back(at::linear(stopped, key_));
      values.push_back(at::linear(stopped, value_));
    } else {
      keys.push_back(partly_stopped(at::linear(other, key_)));
      values.push_back(partly_stopped(at::linear(other, value_)));
    }
  }
  const double scale = 1.0 / std::sqrt(static_cast<double>(query_.size(0)));
  const at::Tensor q = (at::linear(u, query_) * scale).unsqueeze(2);         // [rows, d_a, 1]
  const at::Tensor shares = at::softmax(at::bmm(at::stack(keys, 1), q), 1);  // [rows, N, 1]
  return at::bmm(shares.transpose(1, 2), at::stack(values, 1)).squeeze(1);
}

at::Tensor Dapga::operator()(const at::Tensor& e, const at::Tensor& gate_tokens,
                             const BatchTensors& batch) const {
  const at::Tensor context =
      by_domain(batch, e, query_.size(0), [&](size_t d, const at::Tensor& rows) { return attend(rows, d); });
  const at::Tensor gate =
      at::sigmoid(gate_[0](gate_stops_ ? gate_tokens.detach() : gate_tokens));  // [R, d_a]
  return gate.index_select(0, batch.request_of) * context;
}

double Dapga::candidate_flops() const {
  const auto n = static_cast<double>(experts_.size()), d = static_cast<double>(query_.size(0));
  return n * experts_[0].flops() + 2 * d * d * (1 + 2 * n) + 4 * n * d;
}

}  // namespace uniscale::model
