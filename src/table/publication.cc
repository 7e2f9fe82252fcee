#include "table/publication.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

namespace uniscale::table {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxGeneration = 1'000'000'000;

std::string manifest_path(const std::string& store, const std::string& part) {
  return fmt::format("{}/manifests/{}.json", store, part);
}

// Relative, without "." or ".." or empty components.
bool is_inside(const std::string& path) {
  size_t begin = 0;
  for (;;) {
    const size_t slash = path.find('/', begin);
    if (!base::is_plain_name(
            std::string_view(path).substr(begin, slash == std::string::npos ? slash : slash - begin)))
      return false;
    if (slash == std::string::npos) return true;
    begin = slash + 1;
  }
}

// True if the path, or a folder on the way to it below the store, is a link.
bool has_link(const std::string& store, const std::string& path) {
  fs::path at = store;
  for (const fs::path& name : fs::path(path)) {
    at /= name;
    std::error_code error;
    if (fs::is_symlink(at, error)) return true;
  }
  return false;
}

// Data files of the folder that are not in `kept`: of older generations, and of writers that were killed.
std::vector<std::string> stray_files(const std::string& folder, const std::set<std::string>& kept) {
  std::vector<std::string> strays;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with("part-") || !name.ends_with(".parquet")) continue;
    if (!kept.contains(it->path().string())) strays.push_back(it->path().string());
  }
  return strays;
}

void remove_quietly(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
}

}  // namespace

std::string day_part(base::Day day) { return "dt=" + base::format_day(day); }

struct Publisher::Impl {
  Impl(std::string store_path, std::string part_name)
      : store(std::move(store_path)), part(std::move(part_name)), lock(store) {}

  std::string relative(const std::string& folder) const {
    return fmt::format("{}/part-{:06}.parquet", folder, generation);
  }

  std::string store, part;
  base::FolderLock lock;
  int64_t generation = 1;
  std::vector<PublishedFile> old_files;
  std::mutex mutex;
  std::vector<PublishedFile> files;
};

Publisher::Publisher(std::string store, std::string part) {
  US_CHECK(base::is_plain_name(part), "a part is one plain name");
  auto impl = std::make_unique<Impl>(std::move(store), std::move(part));
  if (const auto old = read_publication(impl->store, impl->part)) {
    impl->generation = old->generation + 1;
    impl->old_files = old->files;
  }
  impl_ = impl.release();
}

Publisher::~Publisher() { delete impl_; }

int64_t Publisher::generation() const { return impl_->generation; }

std::string Publisher::data_path(const std::string& folder) {
  US_CHECK(is_inside(folder), "a data folder inside the store");
  base::make_directories(impl_->store + "/" + folder);
  return impl_->store + "/" + impl_->relative(folder);
}

void Publisher::add_file(const std::string& folder, int64_t num_rows) {
  PublishedFile file;
  file.path = impl_->relative(folder);
  file.num_rows = num_rows;
  const std::string path = impl_->store + "/" + file.path;
  file.num_bytes = static_cast<int64_t>(fs::file_size(path));
  file.hash = base::content_hash_of_file(path);
  const std::scoped_lock lock(impl_->mutex);
  std::erase_if(impl_->files, [&](const PublishedFile& other) { return other.path == file.path; });
  impl_->files.push_back(std::move(file));
}

void Publisher::drop_file(const std::string& folder) {
  const std::string path = impl_->relative(folder);
  const std::scoped_lock lock(impl_->mutex);
  if (std::erase_if(impl_->files, [&](const PublishedFile& other) { return other.path == path; }) > 0)
    remove_quietly(impl_->store + "/" + path);
}

void Publisher::publish(json::Value body) {
  std::sort(impl_->files.begin(), impl_->files.end(),
            [](const PublishedFile& a, const PublishedFile& b) { return a.path < b.path; });
  std::set<std::string> folders;
  json::Value files = json::Value::array();
  for (const PublishedFile& file : impl_->files) {
    const std::string path = impl_->store + "/" + file.path;
    base::sync_path(path);
    // Every folder on the way, so that a new bucket folder survives a power cut.
    for (fs::path folder = fs::path(file.path).parent_path(); !folder.empty();
         folder = folder.parent_path()) {
      folders.insert(impl_->store + "/" + folder.string());
    }
    files.push_back(
        {{"path", file.path}, {"rows", file.num_rows}, {"bytes", file.num_bytes}, {"hash", file.hash}});
  }
  for (const std::string& folder : folders) base::sync_path(folder);
  base::sync_path(impl_->store);
  json::Value manifest;
  manifest["part"] = impl_->part;
  manifest["generation"] = impl_->generation;
  manifest["files"] = std::move(files);
  manifest["body"] = std::move(body);
  base::make_directories(impl_->store + "/manifests");
  base::write_file_atomically(manifest_path(impl_->store, impl_->part), json::dump(manifest) + "\n");
  for (const char* folder : {"/manifests", "/reports"}) base::remove_leftovers(impl_->store + folder);
  // What the new manifest does not list no longer exists for anybody. A folder belongs to one part.
  std::set<std::string> kept, own_folders;
  for (const PublishedFile& file : impl_->files) kept.insert(impl_->store + "/" + file.path);
  for (const auto* files_of_part : {&impl_->files, &impl_->old_files}) {
    for (const PublishedFile& file : *files_of_part) {
      own_folders.insert(impl_->store + "/" + fs::path(file.path).parent_path().string());
    }
  }
  for (const std::string& folder : own_folders) {
    for (const std::string& stray : stray_files(folder, kept)) remove_quietly(stray);
  }
}

void Publisher::discard() {
  for (const PublishedFile& file : impl_->files) remove_quietly(impl_->store + "/" + file.path);
  impl_->files.clear();
}

std::optional<Publication> read_publication(const std::string& store, const std::string& part) {
  US_REQUIRE(base::is_plain_name(part), fmt::format("{}: not a part's name: {}", store, part));
  const std::string path = manifest_path(store, part);
  if (!base::file_exists(path)) return std::nullopt;
  const json::Value manifest = json::parse_file(path);
  Publication publication;
  publication.part = part;
  publication.generation = json::int_member(manifest, "generation", path);
  US_REQUIRE(
      publication.generation >= 1 && publication.generation <= kMaxGeneration,
      fmt::format("{}: generation: expected 1 … {}, got {}", path, kMaxGeneration, publication.generation));
  publication.body = json::member(manifest, "body", path);
  const json::Value& files = json::member(manifest, "files", path);
  US_REQUIRE(files.is_array(), fmt::format("{}: files: expected an array, got {}", path, files.type_name()));
  for (const json::Value& entry : files) {
    PublishedFile file;
    file.path = json::string_member(entry, "path", path);
    US_REQUIRE(is_inside(file.path), fmt::format("{}: files: a path outside the store: {}", path, file.path));
    US_REQUIRE(!has_link(store, file.path), fmt::format("{}: files: a link: {}", path, file.path));
    file.num_rows = json::int_member(entry, "rows", path);
    file.num_bytes = json::int_member(entry, "bytes", path);
    US_REQUIRE(file.num_rows >= 0 && file.num_bytes >= 0,
               fmt::format("{}: files: {}: expected rows and bytes ≥ 0", path, file.path));
    file.hash = json::string_member(entry, "hash", path);
    publication.files.push_back(std::move(file));
  }
  std::sort(publication.files.begin(), publication.files.end(),
            [](const PublishedFile& a, const PublishedFile& b) { return a.path < b.path; });
  return publication;
}

namespace {

// Which manifest a path names: a swap by rename brings another file, a rewrite another time.
struct ManifestStamp {
  ino_t inode = 0;
  off_t size = 0;
  int64_t changed_s = 0, changed_ns = 0;
  bool operator==(const ManifestStamp&) const = default;
};

std::optional<ManifestStamp> stamp_of(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return ManifestStamp{found.st_ino, found.st_size, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
}

}  // namespace

struct PublicationCache::Impl {
  struct Entry {
    ManifestStamp stamp;
    std::shared_ptr<const Publication> publication;
  };
  std::string store;
  std::mutex mutex;
  std::map<std::string, Entry> entries;
};

PublicationCache::PublicationCache(std::string store) : impl_(std::make_unique<Impl>()) {
  impl_->store = std::move(store);
}

PublicationCache::~PublicationCache() = default;

std::shared_ptr<const Publication> PublicationCache::read(const std::string& part) {
  const std::scoped_lock lock(impl_->mutex);
  // Before the manifest is read: one that is swapped meanwhile is read again by the next call.
  const auto stamp = stamp_of(manifest_path(impl_->store, part));
  if (const auto it = impl_->entries.find(part);
      it != impl_->entries.end() && stamp && it->second.stamp == *stamp)
    return it->second.publication;
  auto publication = read_publication(impl_->store, part);
  if (!publication) return nullptr;
  auto kept = std::make_shared<const Publication>(std::move(*publication));
  if (stamp) impl_->entries[part] = {*stamp, kept};
  return kept;
}

std::vector<std::string> list_parts(const std::string& store, const std::string& prefix) {
  std::vector<std::string> parts;
  if (!base::file_exists(store + "/manifests")) return parts;
  for (const std::string& path : base::list_files(store + "/manifests", ".json")) {
    const std::string name = fs::path(path).stem().string();
    if (name.starts_with(prefix)) parts.push_back(name);
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

}  // namespace uniscale::table
