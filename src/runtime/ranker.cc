#include "runtime/ranker.h"

#include <fmt/format.h>

#include "base/error.h"
#include "runtime/dlrm_mlp.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {

Workspace::Workspace() : impl_(std::make_unique<Impl>()) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;

std::unique_ptr<const Ranker> load_ranker(const bundle::Bundle& bundle) {
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
  const std::string where = bundle.directory() + "/manifest.json: architecture_options";
  US_REQUIRE(bundle.manifest().architecture == "dlrm_mlp",
             fmt::format("{}/manifest.json: architecture: expected dlrm_mlp, got {}", bundle.directory(),
                         bundle.manifest().architecture));
  return std::make_unique<DlrmMlp>(std::move(spec), std::move(weights),
                                   bundle.manifest().architecture_options, where);
}

}  // namespace uniscale::runtime
