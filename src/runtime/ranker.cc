#include "runtime/ranker.h"

#include <fmt/format.h>

#include "base/error.h"
#include "runtime/dlrm_mlp.h"
#include "runtime/hhsft.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {

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
  if (name == "dlrm_mlp")
    return std::make_unique<DlrmMlp>(std::move(spec), std::move(weights), architecture, *kernels);
  if (name == "hhsft")
    return std::make_unique<Hhsft>(std::move(spec), std::move(weights), architecture, *kernels);
  throw base::UserError(fmt::format("{}/manifest.json: architecture: expected one of dlrm_mlp, hhsft, got {}",
                                    bundle.directory(), name));
}

}  // namespace uniscale::runtime
