#include "train/domain_watch.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace uniscale::train {

DomainWatch::DomainWatch(const std::vector<model::Parameter>& parameters,
                         const std::vector<std::string>& domains)
    : num_domains_(domains.size()) {
  for (const model::Parameter& parameter : parameters) {
    int domain = -1;
    for (size_t d = 0; d < domains.size() &&
                       !(parameter.name.starts_with("token.") || parameter.name.starts_with("event."));
         ++d) {
      if (parameter.name.find("." + domains[d] + ".") != std::string::npos) domain = static_cast<int>(d);
    }
    domain_of_.push_back(domain);
    initial_.push_back(domain < 0 ? at::Tensor() : parameter.value.detach().clone());
  }
}

std::vector<double> DomainWatch::gradient_norms(const std::vector<double>& squared_norms) const {
  US_CHECK(squared_norms.size() == domain_of_.size(), "one squared norm a parameter");
  std::vector<double> out(num_domains_, -1.0);
  for (size_t i = 0; i < squared_norms.size(); ++i) {
    if (domain_of_[i] < 0 || squared_norms[i] < 0) continue;
    double& sum = out[static_cast<size_t>(domain_of_[i])];
    sum = std::max(sum, 0.0) + squared_norms[i];
  }
  for (double& one : out) one = one < 0 ? one : std::sqrt(one);
  return out;
}

std::vector<double> DomainWatch::drift(const std::vector<model::Parameter>& parameters) const {
  const c10::NoGradGuard no_grad;
  std::vector<double> moved(num_domains_), size(num_domains_);
  for (size_t i = 0; i < initial_.size(); ++i) {
    if (domain_of_[i] < 0) continue;
    const auto d = static_cast<size_t>(domain_of_[i]);
    moved[d] += (parameters[i].value - initial_[i]).square().sum().item<double>();
    size[d] += initial_[i].square().sum().item<double>();
  }
  std::vector<double> out;
  for (size_t d = 0; d < num_domains_; ++d) out.push_back(size[d] > 0 ? std::sqrt(moved[d] / size[d]) : -1.0);
  return out;
}

}  // namespace uniscale::train
