#include "train/event_file.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/temporary_folder_test.h"

namespace uniscale::train {
namespace {

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
}

uint64_t little_endian(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

// The TFRecord checksum, taken apart again.
uint32_t unmasked(uint64_t masked) {
  const auto rotated = static_cast<uint32_t>(masked) - 0xa282ead8U;
  return (rotated >> 17) | (rotated << 15);
}

// The records of an event file, their checksums verified.
std::vector<std::string> records_of(const std::string& path) {
  const std::string bytes = base::read_file(path);
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    const auto size = static_cast<size_t>(little_endian(bytes, at, 8));
    EXPECT_EQ(unmasked(little_endian(bytes, at + 8, 4)), crc32c(bytes.substr(at, 8)));
    const std::string record = bytes.substr(at + 12, size);
    EXPECT_EQ(unmasked(little_endian(bytes, at + 12 + size, 4)), crc32c(record));
    records.push_back(record);
    at += 16 + size;
  }
  return records;
}

TEST(EventFile, RecordsAreReadable) {
  const base::TemporaryFolder folder;
  {
    EventFile file(folder.path(), 20, 1.5);
    file.scalars(300, 2.5, {{"auc", 0.75}, {"loss", 0.5}});
  }
  const auto records = records_of(folder.path("events.out.tfevents.000000000020"));
  ASSERT_EQ(records.size(), 2U);
  // wall_time double field 1, step varint field 2, file_version string field 3.
  double wall_time = 1.5;
  std::string expected = "\x09" + std::string(reinterpret_cast<const char*>(&wall_time), 8) + "\x10\x14";
  EXPECT_EQ(records[0], expected + "\x1a\x0d" + "brain.Event:2");
  // summary field 5 of two values {tag field 1, simple_value float field 2}; 300 is the varint ac 02.
  wall_time = 2.5;
  expected = "\x09" + std::string(reinterpret_cast<const char*>(&wall_time), 8) + "\x10\xac\x02" + "\x2a\x19";
  const auto value = [](const std::string& tag, float number) {
    return "\x0a" + std::string(1, static_cast<char>(tag.size() + 7)) + "\x0a" +
           std::string(1, static_cast<char>(tag.size())) + tag + "\x15" +
           std::string(reinterpret_cast<const char*>(&number), 4);
  };
  EXPECT_EQ(records[1], expected + value("auc", 0.75F) + value("loss", 0.5F));
}

TEST(EventFile, CannotBeWritten) { EXPECT_THROW(EventFile("/proc/nowhere", 0, 0), base::IoError); }

}  // namespace
}  // namespace uniscale::train
