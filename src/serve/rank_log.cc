#include "serve/rank_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/time.h"
#include "serve/log.h"

namespace uniscale::serve {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".ndjson.zst";
constexpr int64_t kMaxRecoverBytes = int64_t{1} << 31;

// "20260301T091403Z".
std::string compact_time(int64_t ts_ms) {
  std::string text;
  for (char c : base::format_iso_time(ts_ms).substr(0, 19))
    if (c != '-' && c != ':') text += c;
  return text + "Z";
}

[[noreturn]] void throw_io(const std::string& path, const char* what) {
  throw base::IoError(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

// Bytes of the whole zstd frames at the start of `content`.
size_t whole_frames(const std::string& content) {
  size_t end = 0;
  while (end < content.size()) {
    const size_t size = ZSTD_findFrameCompressedSize(content.data() + end, content.size() - end);
    if (ZSTD_isError(size) != 0) break;
    end += size;
  }
  return end;
}

}  // namespace

// The file being written; locked, so that other servers of the folder leave it alone.
struct RankLog::File {
  explicit File(std::string the_path) : path(std::move(the_path)), opened(std::chrono::steady_clock::now()) {
    fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) throw_io(path, "cannot be opened for writing");
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd);
      throw_io(path, "cannot be locked");
    }
  }
  ~File() { ::close(fd); }
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(fd, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw_io(path, "write failed");
      bytes.remove_prefix(static_cast<size_t>(done));
      size += done;
    }
  }
  std::string path;
  int fd = -1;
  int64_t size = 0;
  std::chrono::steady_clock::time_point opened;
};

RankLog::RankLog(std::string directory, const Limits& limits, Metrics& metrics)
    : directory_(std::move(directory)), limits_(limits), metrics_(metrics) {
  base::make_directories(directory_);
  recover();
  // Ids of requests that bring none: no two servers or starts share them.
  first_request_ = base::stable_hash(static_cast<uint64_t>(base::now_ms()), std::to_string(::getpid()));
  thread_ = std::thread([this] { work(); });
}

RankLog::~RankLog() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::string RankLog::new_request_id() {
  const std::scoped_lock lock(mutex_);
  return fmt::format("{}-{}", base::hex64(first_request_), num_requests_++);
}

void RankLog::write(const Ranking& ranking) {
  write_line(rank_log_line(ranking, base::now_ms(), new_request_id()));
}

void RankLog::write_line(const std::string& line) {
  const std::scoped_lock lock(mutex_);
  if (static_cast<int64_t>(waiting_.size() + line.size()) > limits_.max_waiting_bytes) {
    ++metrics_.rank_log_dropped;
    return;
  }
  waiting_ += line;
  ++metrics_.rank_log_lines;
}

void RankLog::work() {
  bool last = false;
  while (!last) {
    std::string lines;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(limits_.flush_ms), [&] { return stopping_; });
      last = stopping_;
      lines.swap(waiting_);
    }
    try {
      if (!lines.empty()) append(lines);
      const bool is_old = file_ && std::chrono::steady_clock::now() - file_->opened >=
                                       std::chrono::seconds(limits_.max_file_seconds);
      if (file_ && (last || is_old || file_->size >= limits_.max_file_bytes)) publish();
    } catch (const std::exception& error) {
      // A full disk must not stop the ranking.
      log_event("error", "rank_log", {{"error", base::full_message(error)}});
      metrics_.rank_log_dropped += static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
    }
  }
}

void RankLog::append(const std::string& lines) {
  std::string frame(ZSTD_compressBound(lines.size()), '\0');
  const size_t size = ZSTD_compress(frame.data(), frame.size(), lines.data(), lines.size(), 3);
  US_CHECK(ZSTD_isError(size) == 0, "zstd");
  frame.resize(size);
  if (!file_) file_ = std::make_unique<File>(fmt::format("{}/.part-{}{}", directory_, ::getpid(), kSuffix));
  const int64_t whole = file_->size;
  try {
    file_->write(frame);
  } catch (const base::IoError&) {
    // Half a frame would make the rest of the file unreadable.
    if (::ftruncate(file_->fd, whole) == 0 && ::lseek(file_->fd, whole, SEEK_SET) == whole)
      file_->size = whole;
    throw;
  }
}

void RankLog::publish() {
  const std::string path = fmt::format("{}/requests-{}-{}-{:06}{}", directory_, compact_time(base::now_ms()),
                                       ::getpid(), ++num_files_, kSuffix);
  base::sync_path(file_->path);
  base::rename_durably(file_->path, path);
  file_.reset();
}

void RankLog::recover() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".part-") || !name.ends_with(kSuffix) || !entry.is_regular_file(error) ||
        entry.is_symlink(error)) {
      continue;
    }
    const std::string path = entry.path().string();
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {  // else: its server lives
      const std::string content = base::read_file(path, kMaxRecoverBytes);
      const size_t whole = whole_frames(content);
      log_event("info", "rank_log_recovered",
                {{"file", name}, {"kept_bytes", whole}, {"lost_bytes", content.size() - whole}});
      if (whole == 0) {
        ::unlink(path.c_str());
      } else if (::ftruncate(fd, static_cast<off_t>(whole)) == 0) {
        base::sync_path(path);
        base::rename_durably(
            path, fmt::format("{}/requests-{}-{}-{:06}{}", directory_, compact_time(base::now_ms()),
                              name.substr(6, name.size() - 6 - kSuffix.size()), ++num_files_, kSuffix));
      }
    }
    ::close(fd);
  }
}

}  // namespace uniscale::serve
