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

struct Architecture {
  const char* name;
  std::unique_ptr<Model> (*make)(const Options&, const feature::FeatureSpec&, at::ScalarType);
};

template <class T>
std::unique_ptr<Model> make(const Options& options, const feature::FeatureSpec& spec, at::ScalarType dtype) {
  return std::make_unique<T>(options, spec, dtype);
}

constexpr Architecture kArchitectures[] = {
    {"dlrm_mlp", make<DlrmMlp>},    {"dcnv2", make<Dcnv2>},       {"wukong", make<Wukong>},
    {"rankmixer", make<RankMixer>}, {"hiformer", make<Hiformer>}, {"onetrans", make<OneTrans>},
    {"hhsft", make<Hhsft>},
};

}  // namespace

std::vector<std::string> architecture_names() {
  std::vector<std::string> names;
  for (const Architecture& one : kArchitectures) names.emplace_back(one.name);
  return names;
}

std::unique_ptr<Model> make_model(const Options& options, const feature::FeatureSpec& spec,
                                  at::ScalarType dtype) {
  const Options resolved = resolve_options(options);
  for (const Architecture& one : kArchitectures) {
    if (resolved.architecture == one.name) return one.make(resolved, spec, dtype);
  }
  throw base::UserError(fmt::format("model.architecture: expected one of {}, got {}",
                                    fmt::join(architecture_names(), ", "), options.architecture));
}

}  // namespace uniscale::model
