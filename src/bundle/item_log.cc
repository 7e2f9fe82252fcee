#include "bundle/item_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"

// The file: "usitems1", then records: RecordHeader | payload. Little endian. The payload is one line of JSON,
// the array of item_changes_to_json.
namespace uniscale::bundle {
namespace {

constexpr std::string_view kMagic = "usitems1";
constexpr std::string_view kRecordMagic = "usir";
constexpr uint64_t kChecksumSeed = 2;
constexpr size_t kChangesByRecord = 1000;
constexpr int64_t kMaxLogBytes = int64_t{1} << 34;

struct RecordHeader {
  char magic[4];
  uint32_t payload_bytes;
  uint64_t checksum;  // XXH3-64 of the payload
};

std::string record_of(const std::vector<ItemChange>& changes) {
  const std::string payload = json::dump(item_changes_to_json(changes), -1) + "\n";
  US_REQUIRE(static_cast<int64_t>(payload.size()) <= kMaxItemLogRecordBytes,
             fmt::format("items: expected at most {} bytes at once, got {}", kMaxItemLogRecordBytes,
                         payload.size()));
  RecordHeader header{};
  std::memcpy(header.magic, kRecordMagic.data(), sizeof(header.magic));
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  header.checksum = base::hash_bytes(payload, kChecksumSeed);
  std::string record(reinterpret_cast<const char*>(&header), sizeof(header));
  return record + payload;
}

// The payload of a whole record at the start of `bytes`; empty if there is none (a payload never is).
std::string_view payload_at(std::string_view bytes) {
  RecordHeader header{};
  if (bytes.size() < sizeof(header)) return {};
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kRecordMagic.data(), sizeof(header.magic)) != 0) return {};
  if (header.payload_bytes > kMaxItemLogRecordBytes || header.payload_bytes > bytes.size() - sizeof(header))
    return {};
  const std::string_view payload = bytes.substr(sizeof(header), header.payload_bytes);
  return base::hash_bytes(payload, kChecksumSeed) == header.checksum ? payload : std::string_view();
}

void write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      throw base::IoError(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

FreshValue value_from_json(const json::Value& value, const std::string& where) {
  if (value.is_null()) return std::monostate();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) {
    US_REQUIRE(!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX),
               where + ": integer above 2^63 − 1");
    return value.get<int64_t>();
  }
  if (value.is_number_float()) return value.get<double>();
  if (value.is_array()) {
    std::vector<float> floats;
    for (const json::Value& one : value) {
      US_REQUIRE(one.is_number() && std::isfinite(static_cast<float>(one.get<double>())),
                 where + ": expected numbers within the range of a float");
      floats.push_back(static_cast<float>(one.get<double>()));
    }
    return floats;
  }
  throw base::UserError(fmt::format("{}: expected a string, a number, an array of numbers or null, got {}",
                                    where, value.type_name()));
}

json::Value value_to_json(const FreshValue& value) {
  return std::visit(
      [](const auto& one) -> json::Value {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, std::monostate>) {
          return nullptr;
        } else {
          return one;
        }
      },
      value);
}

}  // namespace

std::vector<ItemChange> item_changes_from_json(const json::Value& value, std::string_view where) {
  US_REQUIRE(value.is_array(), fmt::format("{}: expected an array, got {}", where, value.type_name()));
  std::vector<ItemChange> changes;
  changes.reserve(value.size());
  for (const json::Value& one : value) {
    const std::string at = fmt::format("{}[{}]", where, changes.size());
    ItemChange change{.id = json::string_member(one, "id", at), .row = {}};
    for (const auto& [name, member] : one.items()) {
      US_REQUIRE(name == "id" || name == "features",
                 fmt::format("{}: unknown member \"{}\" (expected id, features)", at, name));
    }
    const json::Value& features = json::member(one, "features", at);
    US_REQUIRE(features.is_object() || features.is_null(),
               fmt::format("{}: features: expected an object or null, got {}", at, features.type_name()));
    if (features.is_object()) {
      change.row.emplace();
      for (const auto& [name, member] : features.items()) {
        change.row->values.emplace_back(name,
                                        value_from_json(member, fmt::format("{}.features.{}", at, name)));
      }
      std::sort(change.row->values.begin(), change.row->values.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    changes.push_back(std::move(change));
  }
  return changes;
}

json::Value item_changes_to_json(const std::vector<ItemChange>& changes) {
  json::Value out = json::Value::array();
  for (const ItemChange& change : changes) {
    json::Value features = nullptr;
    if (change.row) {
      features = json::Value::object();
      for (const auto& [name, value] : change.row->values) features[name] = value_to_json(value);
    }
    out.push_back({{"id", change.id}, {"features", std::move(features)}});
  }
  return out;
}

ItemLog::ItemLog(const std::string& folder, FreshItemStore& items) : ItemLog(folder, items, Options()) {}

ItemLog::ItemLog(const std::string& folder, FreshItemStore& items, Options options)
    : path_(folder + "/items.log"), items_(items), options_(options) {
  base::make_directories(folder);
  const std::string lock = folder + "/.items.lock";
  lock_fd_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_fd_ < 0) throw base::IoError(fmt::format("{}: cannot be opened: {}", lock, std::strerror(errno)));
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_fd_);
    throw base::UserError(
        fmt::format("{}: another server has this items log open; each needs a folder of its own", folder));
  }
  try {
    base::remove_leftovers(folder);
    if (base::file_exists(path_)) {
      replay(base::read_file(path_, kMaxLogBytes));
    } else {
      base::write_file_atomically(path_, kMagic);
      bytes_ = static_cast<int64_t>(kMagic.size());
    }
    bytes_after_rewrite_ = static_cast<int64_t>(kMagic.size());
    if (replayed_.damaged_records > 0) {
      base::rename_durably(path_, path_ + ".damaged");
      rewrite();
    } else {
      open_for_append();
      if (bytes_ > options_.min_rewrite_bytes) rewrite();
    }
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    ::close(lock_fd_);
    throw;
  }
}

ItemLog::~ItemLog() {
  if (fd_ >= 0) ::close(fd_);
  ::close(lock_fd_);
}

void ItemLog::replay(std::string_view content) {
  // A kill between making the file and its first bytes cannot be: it appears by rename.
  US_REQUIRE(content.starts_with(kMagic), path_ + ": not an items log");
  size_t at = kMagic.size(), good_end = at;
  while (at < content.size()) {
    const std::string_view payload = payload_at(content.substr(at));
    if (payload.empty()) {
      at = content.find(kRecordMagic, at + 1);
      if (at == std::string_view::npos) break;
      continue;
    }
    if (at != good_end) ++replayed_.damaged_records;
    const std::string where = fmt::format("{}: byte {}", path_, at);
    std::vector<ItemChange> changes = item_changes_from_json(json::parse(payload, where), where);
    ++replayed_.records;
    replayed_.changes += static_cast<int64_t>(changes.size());
    items_.apply(std::move(changes));
    at += sizeof(RecordHeader) + payload.size();
    good_end = at;
  }
  replayed_.torn_bytes = static_cast<int64_t>(content.size() - good_end);
  bytes_ = static_cast<int64_t>(good_end);
}

void ItemLog::rewrite() {
  std::vector<ItemChange> all = items_.state()->all();
  std::string content(kMagic);
  for (size_t begin = 0; begin < all.size(); begin += kChangesByRecord) {
    const size_t end = std::min(all.size(), begin + kChangesByRecord);
    content +=
        record_of({all.begin() + static_cast<ptrdiff_t>(begin), all.begin() + static_cast<ptrdiff_t>(end)});
  }
  base::write_file_atomically(path_, content);
  bytes_ = bytes_after_rewrite_ = static_cast<int64_t>(content.size());
  open_for_append();
}

void ItemLog::open_for_append() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  // What stands behind the last whole record goes, so that the next one follows it.
  if (fd_ < 0 || ::ftruncate(fd_, bytes_) != 0 || ::lseek(fd_, bytes_, SEEK_SET) != bytes_)
    throw base::IoError(fmt::format("{}: cannot be opened: {}", path_, std::strerror(errno)));
}

void ItemLog::append(std::vector<ItemChange> changes) {
  const std::string record = record_of(changes);
  try {
    write_all(fd_, record, path_);
    if (::fdatasync(fd_) != 0)
      throw base::IoError(fmt::format("{}: cannot be synced: {}", path_, std::strerror(errno)));
  } catch (const base::IoError&) {
    open_for_append();
    throw;
  }
  bytes_ += static_cast<int64_t>(record.size());
  items_.apply(std::move(changes));
  if (bytes_ > options_.min_rewrite_bytes && bytes_ > 4 * bytes_after_rewrite_) rewrite();
}

}  // namespace uniscale::bundle
