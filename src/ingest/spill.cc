#include "ingest/spill.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace uniscale::ingest {
namespace {

constexpr size_t kFileBufferBytes = 256 << 10;
constexpr int64_t kAllBuffersBytes = 64 << 20;

}  // namespace

void Spill::write_out(const std::string& key, One& one) {
  if (one.buffer.empty()) return;
  const std::string path = folder_ + "/" + key;
  std::FILE* file = std::fopen(path.c_str(), "ab");
  const bool is_written =
      file != nullptr && std::fwrite(one.buffer.data(), 1, one.buffer.size(), file) == one.buffer.size();
  const bool is_closed = file != nullptr && std::fclose(file) == 0;
  if (!is_written || !is_closed) throw base::IoError(fmt::format("{}: {}", path, std::strerror(errno)));
  buffered_ -= static_cast<int64_t>(one.buffer.size());
  one.buffer = {};
}

void Spill::append(const std::string& key, std::string_view record) {
  US_REQUIRE(record.size() < (size_t{1} << 31), "a row of more than 2 GiB");
  const std::lock_guard lock(mutex_);
  One& one = files_[key];
  const auto size = static_cast<uint32_t>(record.size());
  one.buffer.append(reinterpret_cast<const char*>(&size), sizeof(size));
  one.buffer.append(record);
  one.num_bytes += static_cast<int64_t>(sizeof(size) + record.size());
  buffered_ += static_cast<int64_t>(sizeof(size) + record.size());
  if (one.buffer.size() >= kFileBufferBytes) write_out(key, one);
  if (buffered_ >= kAllBuffersBytes) {
    for (auto& [name, other] : files_) write_out(name, other);
  }
}

void Spill::flush() {
  const std::lock_guard lock(mutex_);
  for (auto& [name, one] : files_) write_out(name, one);
}

std::vector<std::string> Spill::keys() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, one] : files_) out.push_back(name);
  return out;
}

int64_t Spill::bytes(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = files_.find(key);
  return it == files_.end() ? 0 : it->second.num_bytes;
}

std::string Spill::load(const std::string& key) const {
  if (bytes(key) == 0) return {};
  return base::read_file(folder_ + "/" + key, int64_t{1} << 40);
}

void Spill::remove(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (const auto it = files_.find(key); it != files_.end()) {
    buffered_ -= static_cast<int64_t>(it->second.buffer.size());
    files_.erase(it);
  }
  std::error_code error;
  std::filesystem::remove(folder_ + "/" + key, error);
}

SpillCursor::SpillCursor(const Spill& spill, const std::string& key) : path_(spill.folder_ + "/" + key) {
  if (spill.bytes(key) == 0) return;
  file_.reset(std::fopen(path_.c_str(), "rb"));
  if (file_ == nullptr) throw base::IoError(fmt::format("{}: {}", path_, std::strerror(errno)));
  std::setvbuf(file_.get(), nullptr, _IOFBF, kFileBufferBytes);
}

bool SpillCursor::read(char* to, size_t size) {
  const size_t count = std::fread(to, 1, size, file_.get());
  if (std::ferror(file_.get()) != 0) throw base::IoError(fmt::format("{}: {}", path_, std::strerror(errno)));
  US_CHECK(count == size || count == 0, "a spill file that ends early");
  return count == size;
}

std::optional<std::string_view> SpillCursor::next() {
  uint32_t size = 0;
  if (file_ == nullptr || !read(reinterpret_cast<char*>(&size), sizeof(size))) return std::nullopt;
  record_.resize(size);
  US_CHECK(size == 0 || read(record_.data(), size), "a spill file that ends early");
  return record_;
}

std::string SpillCursor::take(int64_t num_bytes) {
  std::string out;
  while (static_cast<int64_t>(out.size()) < num_bytes) {
    const auto record = next();
    if (!record) break;
    const auto size = static_cast<uint32_t>(record->size());
    out.append(reinterpret_cast<const char*>(&size), sizeof(size));
    out.append(*record);
  }
  return out;
}

std::vector<std::string_view> split_records(std::string_view bytes) {
  std::vector<std::string_view> out;
  while (!bytes.empty()) {
    uint32_t size = 0;
    US_CHECK(bytes.size() >= sizeof(size), "a spill file that ends early");
    std::memcpy(&size, bytes.data(), sizeof(size));
    US_CHECK(bytes.size() - sizeof(size) >= size, "a spill file that ends early");
    out.push_back(bytes.substr(sizeof(size), size));
    bytes.remove_prefix(sizeof(size) + size);
  }
  return out;
}

SpillFolder::SpillFolder(const std::string& store) : path_(fmt::format("{}/.spill-{}", store, ::getpid())) {
  base::make_directories(store);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(store, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".spill-")) continue;
    int pid = 0;
    std::from_chars(name.data() + 7, name.data() + name.size(), pid);
    if (pid == ::getpid() || (pid > 0 && !base::process_lives(pid)))
      std::filesystem::remove_all(entry.path(), error);
  }
  base::make_directories(path_);
}

SpillFolder::~SpillFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string SpillFolder::make(const std::string& name) const {
  base::make_directories(path_ + "/" + name);
  return path_ + "/" + name;
}

}  // namespace uniscale::ingest
