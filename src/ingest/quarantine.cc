#include "ingest/quarantine.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "json/json.h"

namespace uniscale::ingest {
namespace {

constexpr size_t kMaxRawBytes = 2048;

}  // namespace

QuarantineFile::~QuarantineFile() {
  if (out_ != nullptr) std::fclose(out_);
}

void QuarantineFile::add(int64_t row, std::string_view column, std::string_view reason,
                         std::string_view message, std::string_view raw) {
  if (out_ == nullptr) out_ = std::fopen(path_.c_str(), "wb");
  if (out_ == nullptr) throw base::IoError(fmt::format("{}: {}", path_, std::strerror(errno)));
  const json::Value line{{"file", file_name_},
                         {"row", row},
                         {"column", std::string(column)},
                         {"reason", std::string(reason)},
                         {"message", std::string(message)},
                         {"raw", std::string(raw.substr(0, kMaxRawBytes))}};
  const std::string text = json::dump(line, -1) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), out_) != text.size())
    throw base::IoError(fmt::format("{}: {}", path_, std::strerror(errno)));
}

void QuarantineFile::close() {
  if (out_ == nullptr) return;
  const int code = std::fclose(out_);
  out_ = nullptr;
  if (code != 0) throw base::IoError(fmt::format("{}: {}", path_, std::strerror(errno)));
}

void publish_quarantine(const std::string& path, const std::vector<std::string>& parts) {
  const auto require = [&](bool is_done) {
    if (!is_done) throw base::IoError(fmt::format("{}: {}", path, std::strerror(errno)));
  };
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  const std::string aside = path + ".tmp";
  File out;
  std::vector<char> buffer(size_t{1} << 16);
  for (const std::string& part : parts) {
    if (!base::file_exists(part)) continue;
    if (!out) out.reset(std::fopen(aside.c_str(), "wb"));
    const File in(std::fopen(part.c_str(), "rb"));
    require(out && in);
    for (size_t count = buffer.size(); count == buffer.size();) {
      count = std::fread(buffer.data(), 1, buffer.size(), in.get());
      require(std::ferror(in.get()) == 0);
      require(std::fwrite(buffer.data(), 1, count, out.get()) == count);
    }
  }
  if (!out) {
    std::error_code error;
    std::filesystem::remove(path, error);
    return;
  }
  require(std::fclose(out.release()) == 0);
  base::sync_path(aside);
  base::rename_durably(aside, path);
}

}  // namespace uniscale::ingest
