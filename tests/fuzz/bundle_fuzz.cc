// A bundle's manifest, and its feature spec where the first byte is odd: opening and loading it gives a
// ranker that scores, or a UserError.
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/temporary_folder_test.h"
#include "fuzz_target.h"
#include "runtime/planted_bundle_test.h"
#include "runtime/ranker.h"

namespace uniscale::fuzz {
namespace {

struct Package {
  Package() : directory(runtime::planted::publish(folder.path(), "main", 3)) {
    manifest = base::read_file(directory + "/manifest.json");
    spec = base::read_file(directory + "/feature_spec.json");
  }
  base::TemporaryFolder folder;
  std::string directory, manifest, spec;
};

Package& package() {
  static Package one;
  return one;
}

}  // namespace

std::vector<std::string> seeds() {
  return {std::string("\0", 1) + package().manifest, "\1" + package().spec};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  if (size == 0) return 0;
  fuzz::Package& package = fuzz::package();
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 2 == 1) {
      const auto spec = feature::FeatureSpec::from_json(json::parse(text, "spec"), "spec");
      feature::FeatureSpec::from_json(spec.to_json(), "again");
      return 0;
    }
    base::write_file_atomically(package.directory + "/manifest.json", text);
    const bundle::Bundle bundle = bundle::Bundle::open(package.directory);
    const auto ranker = runtime::load_ranker(bundle);
    const auto sequences = runtime::sequences_from_json(
        json::member(bundle.manifest().architecture_options, "sequences", "manifest"), "manifest");
    feature::RequestBatch batch;
    runtime::MissingReport missing;
    runtime::to_batch(runtime::planted::make_request(5), ranker->spec(), sequences, nullptr, nullptr, true,
                      batch, missing);
    runtime::Workspace workspace;
    runtime::Scores scores;
    ranker->score(batch, workspace, scores);
    if (scores.heads.empty() || scores.heads[0].size() != 5) fuzz::broken("number of scores");
  } catch (const base::UserError&) {
  }
  return 0;
}
