#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.h"

namespace uniscale::base {
namespace {

namespace fs = std::filesystem;

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

[[noreturn]] void throw_io(const std::string& path, std::string_view what) {
  throw IoError(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

}  // namespace

std::string read_file(const std::string& path, int64_t max_bytes) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (error || !fs::is_regular_file(status)) throw UserError(fmt::format("{}: no such file", path));
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw UserError(fmt::format("{}: cannot be opened for reading", path));
  const int64_t size = in.tellg();
  if (size > max_bytes) {
    throw UserError(
        fmt::format("{}: file too large: expected at most {} bytes, got {}", path, max_bytes, size));
  }
  std::string content(static_cast<size_t>(size), '\0');
  in.seekg(0);
  in.read(content.data(), size);
  if (in.gcount() != size) throw IoError(fmt::format("{}: read failed", path));
  return content;
}

bool file_exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

void make_directories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw IoError(fmt::format("{}: cannot make the folder: {}", path, error.message()));
}

void sync_path(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_io(path, "cannot be opened to sync");
  const int result = ::fsync(fd);
  ::close(fd);
  if (result != 0) throw_io(path, "sync failed");
}

void rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_io(from, fmt::format("cannot be renamed to {}", to));
  sync_path(parent_of(to));
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::string aside =
      fmt::format("{}/.{}.{}.tmp", parent_of(path), fs::path(path).filename().string(), ::getpid());
  const int fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw_io(aside, "cannot be written");
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t written = ::write(fd, content.data() + done, content.size() - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      ::close(fd);
      throw_io(aside, "write failed");
    }
    done += static_cast<size_t>(written);
  }
  const int synced = ::fsync(fd);
  ::close(fd);
  if (synced != 0) throw_io(aside, "sync failed");
  rename_durably(aside, path);
}

bool process_lives(int64_t pid) {
  if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return false;
  return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

void remove_leftovers(const std::string& folder) {
  constexpr std::string_view kEnd = ".tmp";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.') || !name.ends_with(kEnd)) continue;
    const std::string stem = name.substr(0, name.size() - kEnd.size());
    const size_t dot = stem.rfind('.');
    int64_t pid = 0;
    const char* end = stem.data() + stem.size();
    const auto parsed = std::from_chars(stem.data() + dot + 1, end, pid);
    if (dot == 0 || parsed.ec != std::errc() || parsed.ptr != end || process_lives(pid)) continue;
    fs::remove(entry.path(), error);
  }
}

std::vector<std::string> list_files(const std::string& folder, std::string_view suffix) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, fs::directory_options::none, error), end;
  if (error) throw UserError(fmt::format("{}: cannot list the folder: {}", folder, error.message()));
  for (; it != end; it.increment(error)) {
    if (error) throw IoError(fmt::format("{}: cannot list the folder: {}", folder, error.message()));
    const std::string name = it->path().filename().string();
    if (name.starts_with('.') || name.starts_with('_')) {
      if (it->is_directory(error)) it.disable_recursion_pending();
      continue;
    }
    if (it->is_symlink(error) || !it->is_regular_file(error)) continue;
    if (name.ends_with(suffix)) files.push_back(it->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

FolderLock::FolderLock(const std::string& folder) {
  make_directories(folder);
  const std::string path = folder + "/.lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_io(path, "cannot be opened");
  if (::flock(fd_, LOCK_EX) != 0) {
    ::close(fd_);
    throw_io(path, "cannot be locked");
  }
}

FolderLock::~FolderLock() { ::close(fd_); }

}  // namespace uniscale::base
