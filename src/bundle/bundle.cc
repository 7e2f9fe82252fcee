#include "bundle/bundle.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace uniscale::bundle {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifest = "manifest.json";

std::optional<int64_t> parse_version(std::string_view text) {
  int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || version <= 0 ||
      text.front() == '0')
    return std::nullopt;
  return version;
}

void require_model_name(const std::string& model) {
  US_REQUIRE(is_model_name(model),
             fmt::format("model name: expected [A-Za-z0-9][A-Za-z0-9._-]{{0,63}}, got \"{}\"", model));
}

// The folder `.aside-<version>-<pid>` of a version that is being written.
struct Reservation {
  int64_t version = 0;
  int64_t pid = 0;
};

std::optional<Reservation> parse_reservation(std::string_view name) {
  constexpr std::string_view kPrefix = ".aside-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto version = parse_version(name.substr(0, dash)), pid = parse_version(name.substr(dash + 1));
  if (!version || !pid) return std::nullopt;
  return Reservation{*version, *pid};
}

// What killed writers left behind. The caller holds the folder's lock.
void sweep(const std::string& folder) {
  std::vector<fs::path> dead;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto reserved = parse_reservation(entry.path().filename().string());
    if (reserved && !base::process_lives(reserved->pid)) dead.push_back(entry.path());
  }
  std::error_code error;
  for (const fs::path& path : dead) fs::remove_all(path, error);
  base::remove_leftovers(folder);
}

// Versions that stand or are being written.
std::set<int64_t> taken_versions(const std::string& folder) {
  std::set<int64_t> taken;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (const auto version = parse_version(name)) taken.insert(*version);
    if (const auto reserved = parse_reservation(name)) taken.insert(reserved->version);
  }
  return taken;
}

}  // namespace

bool is_model_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  const auto alphanumeric = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return alphanumeric(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
           return alphanumeric(c) || c == '.' || c == '_' || c == '-';
         });
}

BundleWriter::BundleWriter(const std::string& repository, const std::string& model, int64_t version)
    : repository_(repository), model_(model), version_(version) {
  require_model_name(model);
  US_REQUIRE(version >= 0, fmt::format("version: expected a positive number, got {}", version));
  const std::string folder = repository + "/" + model;
  const base::FolderLock lock(folder);
  sweep(folder);
  const std::set<int64_t> taken = taken_versions(folder);
  if (version_ == 0) version_ = taken.empty() ? 1 : *taken.rbegin() + 1;
  US_REQUIRE(!taken.contains(version_),
             fmt::format("{}/{}: this version exists already, or is being written", folder, version_));
  aside_ = fmt::format("{}/.aside-{}-{}", folder, version_, ::getpid());
  base::make_directories(aside_);
}

BundleWriter::~BundleWriter() {
  std::error_code error;
  fs::remove_all(aside_, error);  // gone already after publish
}

void BundleWriter::write_manifest(const Manifest& manifest) {
  json::Value value;
  value["format_version"] = kFormatVersion;
  value["model"] = model_;
  value["version"] = version_;
  value["architecture"] = manifest.architecture;
  value["architecture_options"] = manifest.architecture_options;
  value["feature_spec_fingerprint"] = manifest.feature_spec_fingerprint;
  value["score_weights"] = manifest.score_weights;
  value["golden_tolerance"] = manifest.golden_tolerance;
  value["code_version"] = manifest.code_version;
  value["training"] = manifest.training;
  json::Value files = json::Value::object();
  for (const std::string& path : base::list_files(aside_)) {
    const std::string name = fs::path(path).filename().string();
    if (name == kManifest) continue;
    base::sync_path(path);
    files[name] = {{"bytes", static_cast<int64_t>(fs::file_size(path))},
                   {"hash", base::content_hash_of_file(path)}};
  }
  value["files"] = std::move(files);
  base::write_file_atomically(aside_ + "/" + std::string(kManifest), json::dump(value) + "\n");
}

std::string BundleWriter::publish(const Manifest& manifest) {
  const std::string folder = repository_ + "/" + model_;
  const base::FolderLock lock(folder);
  write_manifest(manifest);
  base::sync_path(aside_);
  const std::string target = fmt::format("{}/{}", folder, version_);
  base::rename_durably(aside_, target);
  base::write_file_atomically(folder + "/CURRENT", fmt::format("{}\n", version_));
  sweep(folder);
  return target;
}

Bundle Bundle::open(const std::string& directory, bool verify) {
  Bundle bundle;
  bundle.directory_ = directory;
  const std::string path = directory + "/" + std::string(kManifest);
  US_REQUIRE(base::file_exists(path), fmt::format("{}: no bundle here (expected {})", directory, kManifest));
  US_REQUIRE(!fs::is_symlink(fs::path(path)), fmt::format("{}: a link, expected a regular file", path));
  const json::Value value = json::parse(base::read_file(path, 16 << 20), path);
  const int64_t format = json::int_member(value, "format_version", path);
  US_REQUIRE(format == kFormatVersion,
             fmt::format("{}: format_version: expected {}, got {}", path, kFormatVersion, format));
  Manifest& manifest = bundle.manifest_;
  manifest.model = json::string_member(value, "model", path);
  US_REQUIRE(is_model_name(manifest.model), fmt::format("{}: model: not a model name", path));
  manifest.version = json::int_member(value, "version", path);
  US_REQUIRE(manifest.version > 0,
             fmt::format("{}: version: expected a positive number, got {}", path, manifest.version));
  manifest.architecture = json::string_member(value, "architecture", path);
  manifest.architecture_options = json::member(value, "architecture_options", path);
  manifest.feature_spec_fingerprint = json::string_member(value, "feature_spec_fingerprint", path);
  const json::Value& weights = json::member(value, "score_weights", path);
  US_REQUIRE(weights.is_object(), fmt::format("{}: score_weights: expected an object", path));
  for (const auto& [task, weight] : weights.items()) {
    US_REQUIRE(weight.is_number() && std::isfinite(weight.get<double>()),
               fmt::format("{}: score_weights.{}: expected a number", path, task));
    manifest.score_weights[task] = weight.get<double>();
  }
  manifest.golden_tolerance = json::double_member(value, "golden_tolerance", path);
  US_REQUIRE(manifest.golden_tolerance >= 0 && manifest.golden_tolerance < 1,
             fmt::format("{}: golden_tolerance: expected 0 … 1", path));
  manifest.code_version = json::string_member(value, "code_version", path);
  manifest.training = json::member(value, "training", path);
  const json::Value& files = json::member(value, "files", path);
  US_REQUIRE(files.is_object(), fmt::format("{}: files: expected an object", path));
  for (const auto& [name, entry] : files.items()) {
    const std::string at = fmt::format("{}: files.{}", path, name);
    US_REQUIRE(base::is_plain_name(name) && !name.starts_with('.'),
               at + ": a bundle's files stand in its own folder");
    const std::string file = directory + "/" + name;
    std::error_code error;
    US_REQUIRE(!fs::is_symlink(fs::symlink_status(file, error)) && fs::is_regular_file(file, error),
               at + ": missing, or not a regular file");
    const int64_t bytes = json::int_member(entry, "bytes", at);
    const auto have = static_cast<int64_t>(fs::file_size(file, error));
    US_REQUIRE(have == bytes, fmt::format("{}: expected {} bytes, got {}", at, bytes, have));
    if (verify) {
      const std::string want = json::string_member(entry, "hash", at), got = base::content_hash_of_file(file);
      US_REQUIRE(want == got,
                 fmt::format("{}: the content has changed: expected hash {}, got {}", at, want, got));
    }
    bundle.files_.push_back(name);
  }
  return bundle;
}

std::optional<std::string> Bundle::file(std::string_view name) const {
  if (std::find(files_.begin(), files_.end(), name) == files_.end()) return std::nullopt;
  return directory_ + "/" + std::string(name);
}

std::optional<int64_t> current_version(const std::string& repository, const std::string& model) {
  require_model_name(model);
  const std::string path = fmt::format("{}/{}/CURRENT", repository, model);
  if (!base::file_exists(path)) return std::nullopt;
  std::string text = base::read_file(path, 64);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const auto version = text.empty() ? std::nullopt : parse_version(text);
  US_REQUIRE(version.has_value(), fmt::format("{}: expected a version number, got \"{}\"", path, text));
  return version;
}

std::vector<int64_t> list_versions(const std::string& repository, const std::string& model) {
  require_model_name(model);
  std::vector<int64_t> versions;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repository + "/" + model, error)) {
    const auto version = parse_version(entry.path().filename().string());
    if (version && entry.is_directory(error) && !entry.is_symlink(error)) versions.push_back(*version);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

std::vector<std::string> list_models(const std::string& repository) {
  std::vector<std::string> models;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repository, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory(error) && !entry.is_symlink(error) && is_model_name(name)) models.push_back(name);
  }
  US_REQUIRE(!error, fmt::format("{}: cannot list the model repository: {}", repository, error.message()));
  std::sort(models.begin(), models.end());
  return models;
}

}  // namespace uniscale::bundle
