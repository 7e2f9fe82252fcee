#include "ingest/byte_input.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdio>
#include <vector>

#include "base/error.h"

namespace uniscale::ingest {
namespace {

constexpr size_t kChunkBytes = 256 << 10;
// A frame that wants a larger window is refused: memory stays bounded.
constexpr int kMaxWindowLog = 27;

}  // namespace

struct ByteInput::Impl {
  std::string path;
  std::FILE* file = nullptr;
  gzFile gz = nullptr;
  ZSTD_DStream* zstd = nullptr;
  std::vector<char> raw, out;
  ZSTD_inBuffer in{nullptr, 0, 0};
  size_t frame_left = 0;  // not 0: inside a frame

  [[noreturn]] void broken(std::string_view why) const {
    throw base::UserError(fmt::format("{}: cannot be decompressed: {}", path, why));
  }

  std::string_view next_zstd() {
    while (true) {
      if (in.pos == in.size) {
        in = {raw.data(), std::fread(raw.data(), 1, raw.size(), file), 0};
        if (in.size == 0) {
          if (std::ferror(file) != 0) throw base::IoError(fmt::format("{}: read failed", path));
          if (frame_left != 0) broken("the file ends inside a zstd frame");
          return {};
        }
      }
      ZSTD_outBuffer buffer{out.data(), out.size(), 0};
      frame_left = ZSTD_decompressStream(zstd, &buffer, &in);
      if (ZSTD_isError(frame_left) != 0) broken(ZSTD_getErrorName(frame_left));
      if (buffer.pos > 0) return {out.data(), buffer.pos};
    }
  }

  std::string_view next_gz() {
    const int count = gzread(gz, out.data(), static_cast<unsigned>(out.size()));
    int code = Z_OK;
    const char* text = gzerror(gz, &code);
    if (count < 0 || code == Z_BUF_ERROR) broken(count < 0 ? text : "the file ends inside a gzip stream");
    return {out.data(), static_cast<size_t>(count)};
  }
};

ByteInput::ByteInput(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->out.resize(kChunkBytes);
  if (path.ends_with(".gz")) {
    impl_->gz = gzopen(path.c_str(), "rb");
    US_REQUIRE(impl_->gz != nullptr, fmt::format("{}: cannot be opened for reading", path));
    gzbuffer(impl_->gz, kChunkBytes);
    return;
  }
  impl_->file = std::fopen(path.c_str(), "rb");
  US_REQUIRE(impl_->file != nullptr, fmt::format("{}: cannot be opened for reading", path));
  if (path.ends_with(".zst")) {
    impl_->raw.resize(kChunkBytes);
    impl_->zstd = ZSTD_createDStream();
    ZSTD_DCtx_setParameter(impl_->zstd, ZSTD_d_windowLogMax, kMaxWindowLog);
  }
}

ByteInput::~ByteInput() {
  if (impl_->gz != nullptr) gzclose(impl_->gz);
  if (impl_->file != nullptr) std::fclose(impl_->file);
  ZSTD_freeDStream(impl_->zstd);
}

std::string_view ByteInput::next() {
  if (impl_->gz != nullptr) return impl_->next_gz();
  if (impl_->zstd != nullptr) return impl_->next_zstd();
  const size_t count = std::fread(impl_->out.data(), 1, impl_->out.size(), impl_->file);
  if (count == 0 && std::ferror(impl_->file) != 0)
    throw base::IoError(fmt::format("{}: read failed", impl_->path));
  return {impl_->out.data(), count};
}

bool LineReader::next() {
  line_.clear();
  is_too_long_ = false;
  if (at_end_) return false;
  while (true) {
    if (chunk_.empty()) {
      chunk_ = input_.next();
      if (chunk_.empty()) {
        at_end_ = true;
        is_unfinished_ = !line_.empty();
        if (!is_unfinished_) return false;
        break;
      }
    }
    const size_t end = chunk_.find('\n');
    const std::string_view part = chunk_.substr(0, end);
    const size_t room = static_cast<size_t>(max_bytes_) - line_.size();
    if (part.size() > room) is_too_long_ = true;
    line_.append(part.substr(0, room));
    chunk_.remove_prefix(end == std::string_view::npos ? chunk_.size() : end + 1);
    if (end != std::string_view::npos) break;
  }
  ++number_;
  if (line_.ends_with('\r')) line_.pop_back();
  if (number_ == 1 && line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);
  return true;
}

}  // namespace uniscale::ingest
