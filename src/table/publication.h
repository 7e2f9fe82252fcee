// How a store publishes. A store is a folder with data files and `manifests/<part>.json`, one manifest for
// each part
// ("dt=2026-03-01", "items"). The manifest lists the part's files; a data file that no manifest lists does
// not exist for any reader. Publishing = write data files under new names, sync them, swap the manifest by
// rename, delete the old files. A kill at any moment leaves the old part or the new one. Data files carry the
// part's generation in their name
// ("part-000002.parquet"), counted from 1, so that a fresh store has the same names in every run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "json/json.h"

namespace uniscale::table {

// The part of a day, and the folder of its files: "dt=2026-03-01".
std::string day_part(base::Day day);

struct PublishedFile {
  std::string path;  // relative to the store, "requests/dt=2026-03-01/bucket=003/part-000001.parquet"
  int64_t num_rows = 0;
  int64_t num_bytes = 0;
  std::string hash;  // content hash
};

struct Publication {
  std::string part;
  int64_t generation = 0;
  std::vector<PublishedFile> files;  // by path
  json::Value body;                  // what the writer added: counts, config, input hashes
};

// One atomic publish of one part. Not thread-safe but for `add_file`, which may be called from many threads.
class Publisher {
 public:
  // Takes the store's lock for its lifetime.
  Publisher(std::string store, std::string part);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  int64_t generation() const;
  // Absolute path to write to: `<store>/<folder>/part-<generation>.parquet`; makes the folder.
  std::string data_path(const std::string& folder);
  // The file at data_path(folder) is complete; hashes it. Given twice, the last counts.
  void add_file(const std::string& folder, int64_t num_rows);
  // Takes the file at data_path(folder) back, if it was added.
  void drop_file(const std::string& folder);
  // Syncs, swaps the manifest, removes the part's older files.
  void publish(json::Value body);
  // Removes the files added so far instead of publishing them; what stood published stays.
  void discard();

 private:
  struct Impl;
  Impl* impl_;
};

// nullopt if the part was never published. Throws UserError if the manifest is broken or names a path outside
// the store.
std::optional<Publication> read_publication(const std::string& store, const std::string& part);
// Publications of one store, read once and again only when their manifest was swapped: checking the manifest
// of a day of many buckets costs more than reading one of its files. Thread-safe.
class PublicationCache {
 public:
  explicit PublicationCache(std::string store);
  ~PublicationCache();
  PublicationCache(const PublicationCache&) = delete;
  PublicationCache& operator=(const PublicationCache&) = delete;
  // As read_publication; null if the part was never published.
  std::shared_ptr<const Publication> read(const std::string& part);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
// Parts whose name starts with `prefix`, sorted.
std::vector<std::string> list_parts(const std::string& store, const std::string& prefix);

}  // namespace uniscale::table
