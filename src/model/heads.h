// One FFN for each domain and task (paper §2.6); a candidate goes through those of its request's domain.
//   logit_{d,t} = head_{d,t}(x), ReLU inside
#pragma once

#include <string>
#include <vector>

#include "model/layers.h"
#include "model/options.h"

namespace uniscale::model {

class Heads {
 public:
  // `in`: width of x. Parameters `head.<domain>.<task>.<i>.weight`, …; with shared_head those of the search
  // domain alone.
  Heads(const Options& options, const feature::FeatureSpec& spec, int64_t in, at::Generator& generator,
        at::ScalarType dtype, std::vector<Parameter>& parameters);
  // x [C, in] of any precision → by task: logits [C] in the parameters' own precision, also under autocast. A
  // domain that the batch lacks gets no gradient at all.
  std::vector<at::Tensor> operator()(const at::Tensor& x, const BatchTensors& batch) const;
  // Of one candidate, all tasks.
  double flops() const;

 private:
  at::ScalarType dtype_;
  std::vector<std::vector<Mlp>> heads_;  // by domain (one if shared), by task
};

// Computes in full precision while it lives, also under autocast.
class FullPrecision {
 public:
  FullPrecision();
  ~FullPrecision();
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

 private:
  bool was_;
};

}  // namespace uniscale::model
