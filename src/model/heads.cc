#include "model/heads.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

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
    at::Tensor logit = at::zeros({batch.num_candidates}, z.options());
    for (size_t d = 0; d < heads_.size(); ++d) {
      const at::Tensor& candidates = batch.candidates_of_domain[d];
      if (!shared && !candidates.defined()) continue;
      const bool all = shared || candidates.size(0) == batch.num_candidates;
      const at::Tensor own = heads_[d][t](all ? z : z.index_select(0, candidates)).squeeze(1);
      logit = all ? own : logit.index_add(0, candidates, own);
    }
    out.push_back(logit);
  }
  return out;
}

double Heads::flops() const {
  double sum = 0;
  for (const Mlp& head : heads_[0]) sum += head.flops();
  return sum;
}

}  // namespace uniscale::model
