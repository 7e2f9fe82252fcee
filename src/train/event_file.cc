#include "train/event_file.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace uniscale::train {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

// TFRecord stores checksums rotated and offset, so that a checksum of a checksum is no fixed point.
uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

template <class T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// Protocol-buffer fields: tag = number << 3 | wire type (0 varint, 1 eight bytes, 2 length-delimited, 5 four
// bytes).
void append_bytes(std::string& out, int field, std::string_view bytes) {
  append_varint(out, static_cast<uint64_t>(field) << 3 | 2);
  append_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(int64_t step, double wall_time_s) {
  std::string event;
  append_varint(event, 1 << 3 | 1);  // Event.wall_time
  append_raw(event, wall_time_s);
  append_varint(event, 2 << 3 | 0);  // Event.step
  append_varint(event, static_cast<uint64_t>(step));
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffffU;
  for (char c : bytes) crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

EventFile::EventFile(const std::string& folder, int64_t first_step, double wall_time_s)
    : path_(fmt::format("{}/events.out.tfevents.{:012}", folder, first_step)) {
  base::make_directories(folder);
  out_.open(path_, std::ios::binary | std::ios::trunc);
  if (!out_) throw base::IoError(path_ + ": cannot be written");
  std::string event = event_head(first_step, wall_time_s);
  append_bytes(event, 3, "brain.Event:2");  // Event.file_version
  record(event);
}

void EventFile::scalars(int64_t step, double wall_time_s, const std::map<std::string, double>& values) {
  std::string summary;
  for (const auto& [tag, number] : values) {
    std::string value;
    append_bytes(value, 1, tag);       // Summary.Value.tag
    append_varint(value, 2 << 3 | 5);  // Summary.Value.simple_value
    append_raw(value, static_cast<float>(number));
    append_bytes(summary, 1, value);  // Summary.value
  }
  std::string event = event_head(step, wall_time_s);
  append_bytes(event, 5, summary);  // Event.summary
  record(event);
}

void EventFile::record(const std::string& event) {
  std::string length;
  append_raw(length, static_cast<uint64_t>(event.size()));
  std::string bytes = length;
  append_raw(bytes, masked(crc32c(length)));
  bytes += event;
  append_raw(bytes, masked(crc32c(event)));
  out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out_.flush();
  if (!out_) throw base::IoError(path_ + ": write failed");
}

}  // namespace uniscale::train
