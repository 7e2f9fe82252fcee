#include "model/registry.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "model/dcnv2.h"
#include "model/dlrm_mlp.h"
#include "model/hhsft.h"
#include "model/hiformer.h"
#include "model/model.h"
#include "model/onetrans.h"
#include "model/rankmixer.h"
#include "model/wukong.h"

namespace uniscale::model {
namespace {

template <class T>
std::unique_ptr<Model> make(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype) {
  return std::make_unique<T>(options, spec, dtype);
}

using Maker = std::unique_ptr<Model> (*)(const Options&, const feature::FeatureSpec&, at::ScalarType);

// In the order of kArchitectures.
constexpr Maker kMakers[] = {make<DlrmMlp>,  make<Dcnv2>,    make<Wukong>, make<RankMixer>,
                             make<Hiformer>, make<OneTrans>, make<Hhsft>};
static_assert(std::size(kMakers) == std::size(kArchitectures));

}  // namespace

std::unique_ptr<Model> make_model(const Options& options, const feature::FeatureSpec& spec,
                                  at::ScalarType dtype) {
  const Options resolved = resolve_options(options);
  for (size_t i = 0; i < std::size(kArchitectures); ++i)
    if (resolved.architecture == kArchitectures[i]) return kMakers[i](resolved, spec, dtype);
  throw base::UserError(fmt::format("model.architecture: expected one of {}, got {}",
                                    fmt::join(architecture_names(), ", "), options.architecture));
}

}  // namespace uniscale::model
