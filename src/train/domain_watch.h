// Who starves: per-domain gradient norm and drift of the parameters that belong to one domain alone (experts,
// gates, heads; model.md "Training", paper §5). One loop, not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "model/model.h"

namespace uniscale::train {

class DomainWatch {
 public:
  // `parameters` as they are now: drift is measured from here. A parameter belongs to domain d if its name
  // has ".<d>." in it and is no token's (docs/formats/weights.md).
  DomainWatch(const std::vector<model::Parameter>& parameters, const std::vector<std::string>& domains);

  // By parameter: index of its domain, −1 if it is shared.
  const std::vector<int>& domain_of() const { return domain_of_; }
  // By domain: norm over its own parameters, from the squared norms by parameter (negative: no gradient). −1
  // if none of them had a gradient.
  std::vector<double> gradient_norms(const std::vector<double>& squared_norms) const;
  // By domain: ‖θ − θ₀‖ / ‖θ₀‖ of its own parameters, θ₀ the initial ones; −1 if it has none.
  std::vector<double> drift(const std::vector<model::Parameter>& parameters) const;

 private:
  size_t num_domains_;
  std::vector<int> domain_of_;
  std::vector<at::Tensor> initial_;  // by parameter; undefined if shared
};

}  // namespace uniscale::train
