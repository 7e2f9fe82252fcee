// For tests: a fresh folder of this process, removed with everything in it at the end.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace uniscale::base {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    // In memory where there is such a place: tests publish thousands of small files, and each is synced.
    std::error_code ignored;
    const bool has_memory_folder =
        std::filesystem::is_directory("/dev/shm", ignored) && ::access("/dev/shm", W_OK) == 0;
    const std::filesystem::path parent =
        has_memory_folder ? "/dev/shm" : std::filesystem::temp_directory_path();
    path_ = (parent / "uniscale_test_XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no temporary folder");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace uniscale::base
