#include "runtime/ranker.h"

#include <fmt/format.h>

#include "base/error.h"
#include "runtime/dcnv2.h"
#include "runtime/dlrm_mlp.h"
#include "runtime/hhsft.h"
#include "runtime/hiformer.h"
#include "runtime/onetrans.h"
#include "runtime/rankmixer.h"
#include "runtime/workspace.h"
#include "runtime/wukong.h"

namespace uniscale::runtime {
namespace {

struct Architecture {
  const char* name;
  std::unique_ptr<const Ranker> (*make)(feature::FeatureSpec, std::shared_ptr<const bundle::SafetensorsFile>,
                                        const ArchitectureOptions&, const Kernels&);
};

template <class T>
std::unique_ptr<const Ranker> make(feature::FeatureSpec spec,
                                   std::shared_ptr<const bundle::SafetensorsFile> weights,
                                   const ArchitectureOptions& options, const Kernels& kernels) {
  return std::make_unique<T>(std::move(spec), std::move(weights), options, kernels);
}

constexpr Architecture kArchitectures[] = {
    {"dcnv2", make<Dcnv2>},       {"dlrm_mlp", make<DlrmMlp>},  {"hhsft", make<Hhsft>},
    {"hiformer", make<Hiformer>}, {"onetrans", make<OneTrans>}, {"rankmixer", make<RankMixer>},
    {"wukong", make<Wukong>},
};

}  // namespace

void Ranker::score(const feature::RequestBatch& batch, Workspace& workspace, Scores& out) const {
  RequestState& state = workspace.impl().state;
  prepare(batch, workspace, state);
  score_candidates(batch, state, 0, batch.num_candidates(), workspace, out);
}

std::unique_ptr<const Ranker> load_ranker(const bundle::Bundle& bundle, const RankerOptions& options) {
  const auto file = [&](const char* name) {
    const auto path = bundle.file(name);
    US_REQUIRE(path.has_value(), fmt::format("{}: {}: missing", bundle.directory(), name));
    return *path;
  };
  const std::string spec_path = file("feature_spec.json");
  feature::FeatureSpec spec = feature::FeatureSpec::from_json(json::parse_file(spec_path), spec_path);
  US_REQUIRE(spec.fingerprint() == bundle.manifest().feature_spec_fingerprint,
             fmt::format("{}: fingerprint: expected {}, got {}", spec_path,
                         bundle.manifest().feature_spec_fingerprint, spec.fingerprint()));
  auto weights = std::make_shared<const bundle::SafetensorsFile>(file("weights.safetensors"));
  const ArchitectureOptions architecture(bundle.manifest().architecture_options,
                                         bundle.directory() + "/manifest.json: architecture_options");
  const Kernels* kernels =
      options.isa ? find_kernels(*options.isa, options.precision) : &best_kernels(options.precision);
  US_CHECK(kernels != nullptr, "an instruction set that this machine lacks");
  const std::string& name = bundle.manifest().architecture;
  std::string names;
  for (const Architecture& one : kArchitectures) {
    if (name == one.name) return one.make(std::move(spec), std::move(weights), architecture, *kernels);
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  throw base::UserError(fmt::format("{}/manifest.json: architecture: expected one of {}, got {}",
                                    bundle.directory(), names, name));
}

}  // namespace uniscale::runtime
