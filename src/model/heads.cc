#include "model/heads.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "model/domain_rows.h"

namespace uniscale::model {

FullPrecision::FullPrecision() : was_(at::autocast::is_autocast_enabled(at::kCPU)) {
  at::autocast::set_autocast_enabled(at::kCPU, false);
}

FullPrecision::~FullPrecision() { at::autocast::set_autocast_enabled(at::kCPU, was_); }

Heads::Heads(const Options& options, const feature::FeatureSpec& spec, int64_t in, at::Generator& generator,
             at::ScalarType dtype, std::vector<Parameter>& parameters)
    : dtype_(dtype) {
  std::vector<int64_t> widths{in};
  widths.insert(widths.end(), options.head.begin(), options.head.end());
  widths.push_back(1);
  for (const std::string& domain : spec.domains()) {
    heads_.emplace_back();
    for (const std::string& task : options.tasks) {
      heads_.back().emplace_back("head." + domain + "." + task, widths, Activation::Relu, generator, dtype,
                                 parameters);
    }
    if (options.shared_head) break;
  }
}

std::vector<at::Tensor> Heads::operator()(const at::Tensor& x, const BatchTensors& batch) const {
  const FullPrecision guard;
  const at::Tensor z = x.to(dtype_);
  const bool shared = heads_.size() < batch.candidates_of_domain.size();
  std::vector<at::Tensor> out;
  for (size_t t = 0; t < heads_[0].size(); ++t) {
    const at::Tensor logit =
        shared ? heads_[0][t](z)
               : by_domain(batch, z, 1, [&](size_t d, const at::Tensor& rows) { return heads_[d][t](rows); });
    out.push_back(logit.squeeze(1));
  }
  return out;
}

double Heads::flops() const {
  double sum = 0;
  for (const Mlp& head : heads_[0]) sum += head.flops();
  return sum;
}

}  // namespace uniscale::model
