#include "model/model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "base/error.h"
#include "model/dlrm_mlp.h"

namespace uniscale::model {

int64_t Model::num_dense_parameters() const {
  int64_t count = 0;
  for (const Parameter& parameter : parameters()) count += parameter.value.numel();
  return count;
}

std::unique_ptr<Model> make_model(const Options& options, const feature::FeatureSpec& spec,
                                  at::ScalarType dtype) {
  check_options(options);
  US_REQUIRE(options.architecture == "dlrm_mlp",
             fmt::format("model.architecture: expected dlrm_mlp, got {}", options.architecture));
  return std::make_unique<DlrmMlp>(options, spec, dtype);
}

std::vector<at::Tensor> probabilities(const std::vector<at::Tensor>& logits) {
  std::vector<at::Tensor> out;
  const at::Tensor click = at::sigmoid(logits[0]);
  out.push_back(click);
  for (size_t t = 1; t < logits.size(); ++t) out.push_back(click * at::sigmoid(logits[t]));
  return out;
}

}  // namespace uniscale::model
