// The bundle ③: an immutable version directory with everything that scoring needs (serving.md §4).
//   <repo>/<model>/<version>/{manifest.json, config.toml, feature_spec.json, weights.safetensors,
//   items.table, users.table,
//                             golden.jsonl}     <repo>/<model>/CURRENT
// Publishing: write aside, sync files and folder, rename, sync the parent, flip CURRENT by rename. CURRENT
// names the version published last.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"

namespace uniscale::bundle {

inline constexpr int64_t kFormatVersion = 1;

struct Manifest {
  std::string model;  // repository name, [A-Za-z0-9][A-Za-z0-9._-]{0,63}
  int64_t version = 0;
  std::string architecture;          // "dlrm_mlp", "hhsft" …
  json::Value architecture_options;  // what runtime needs to rebuild the layers: widths, counts
  std::string feature_spec_fingerprint;
  std::map<std::string, double> score_weights;  // scores = Π head^w, by task name; default {click: 1}
  double golden_tolerance = 1e-5;               // |Δ probability|
  std::string code_version;
  json::Value training;  // provenance: sample fingerprints, step, metrics
};

// Files that the caller writes into `aside()` before `publish`. A version belongs to one writer from its
// construction on: `aside()` reserves the number, so that writers of one model, also in other processes,
// never meet.
class BundleWriter {
 public:
  // `version` 0: the next free number. Throws UserError on a bad model name or a version that exists or is
  // being written.
  BundleWriter(const std::string& repository, const std::string& model, int64_t version);
  ~BundleWriter();
  BundleWriter(const BundleWriter&) = delete;
  BundleWriter& operator=(const BundleWriter&) = delete;
  const std::string& aside() const { return aside_; }
  int64_t version() const { return version_; }
  // Hashes every file in aside() into its manifest.json: Bundle::open can read aside() now.
  void write_manifest(const Manifest& manifest);
  // write_manifest, publishes, flips CURRENT. Returns the version directory.
  std::string publish(const Manifest& manifest);

 private:
  std::string repository_, model_, aside_;
  int64_t version_;
};

// An opened version directory: manifest parsed, every listed file present with the stated size (and hash, if
// `verify`), none a link, none outside. Throws UserError.
class Bundle {
 public:
  static Bundle open(const std::string& directory, bool verify = true);
  const Manifest& manifest() const { return manifest_; }
  const std::string& directory() const { return directory_; }
  // Absolute path of a listed file, or nullopt.
  std::optional<std::string> file(std::string_view name) const;

 private:
  std::string directory_;
  Manifest manifest_;
  std::vector<std::string> files_;
};

bool is_model_name(std::string_view name);
// Version number in <repo>/<model>/CURRENT; nullopt if there is none. Throws UserError if it is not a
// positive integer.
std::optional<int64_t> current_version(const std::string& repository, const std::string& model);
// Versions that stand in <repo>/<model>, ascending.
std::vector<int64_t> list_versions(const std::string& repository, const std::string& model);
std::vector<std::string> list_models(const std::string& repository);

}  // namespace uniscale::bundle
