// Spill files: records by key, in buffers that are appended to files. Thread-safe.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::ingest {

class Spill {
 public:
  explicit Spill(std::string folder) : folder_(std::move(folder)) {}
  void append(const std::string& key, std::string_view record);
  // Writes all buffers out; afterwards `load` sees everything.
  void flush();
  std::vector<std::string> keys() const;
  int64_t bytes(const std::string& key) const;
  // The whole file of a key: [u32 length][record]…; empty if there is none.
  std::string load(const std::string& key) const;
  void remove(const std::string& key);

 private:
  friend class SpillCursor;
  struct One {
    std::string buffer;
    int64_t num_bytes = 0;
  };
  void write_out(const std::string& key, One& one);
  std::string folder_;
  mutable std::mutex mutex_;
  std::map<std::string, One> files_;
  int64_t buffered_ = 0;
};

// Reads the records of a flushed key one after another, through a small buffer. Not thread-safe.
class SpillCursor {
 public:
  SpillCursor(const Spill& spill, const std::string& key);
  // Valid until the next call; nullopt at the end.
  std::optional<std::string_view> next();
  // The next records up to about `num_bytes` in the form that `load` gives, at least one; empty at the end.
  std::string take(int64_t num_bytes);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  bool read(char* to, size_t size);
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string record_;
};

// The records of a loaded file.
std::vector<std::string_view> split_records(std::string_view bytes);

// A folder for spill files, removed with everything in it; what killed runs left beside it goes too.
class SpillFolder {
 public:
  explicit SpillFolder(const std::string& store);
  ~SpillFolder();
  SpillFolder(const SpillFolder&) = delete;
  SpillFolder& operator=(const SpillFolder&) = delete;
  std::string make(const std::string& name) const;

 private:
  std::string path_;
};

}  // namespace uniscale::ingest
