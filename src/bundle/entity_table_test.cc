#include "bundle/entity_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"

namespace uniscale::bundle {
namespace {

class EntityTableFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "entity_table_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    base::make_directories(folder_);
    path_ = folder_ + "/items.table";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static EntityValue text(std::string_view value) { return {value, 0, 0, false}; }
  static EntityValue number(double value) { return {{}, value, 0, false}; }
  static EntityValue integer(int64_t value) { return {{}, 0, value, false}; }
  static EntityValue null() { return {{}, 0, 0, true}; }

  void write_three(const std::string& path, std::vector<int> order) {
    EntityTableWriter writer({{"brand", schema::ValueType::String},
                              {"price", schema::ValueType::Double},
                              {"stock", schema::ValueType::Int}});
    const std::vector<std::string> ids = {"a", "b", std::string("c\0d", 3)};
    const std::vector<std::vector<EntityValue>> rows = {{text("acme"), number(2.5), integer(-7)},
                                                        {text(""), null(), integer(INT64_MIN)},
                                                        {null(), number(NAN), null()}};
    for (int i : order) writer.add(ids[static_cast<size_t>(i)], rows[static_cast<size_t>(i)]);
    writer.write(path);
  }

  std::string open_error(const std::string& content) {
    base::write_file_atomically(path_, content);
    try {
      EntityTable::open(path_);
    } catch (const base::UserError& error) {
      return std::string(error.what()).substr(path_.size());
    }
    return "no error";
  }

  // A forger who knows the format renews the checksum too.
  static void renew_checksum(std::string& content) {
    const uint64_t checksum = base::hash_bytes(std::string_view(content).substr(64), 0);
    std::memcpy(content.data() + 8, &checksum, 8);
  }

  std::string folder_, path_;
};

TEST_F(EntityTableFile, ReadsBackEveryTypeAndNull) {
  write_three(path_, {0, 1, 2});
  const EntityTable table = EntityTable::open(path_);
  EXPECT_EQ(table.num_rows(), 3);
  ASSERT_EQ(table.columns().size(), 3U);
  EXPECT_EQ(table.columns()[1].name, "price");
  EXPECT_EQ(table.columns()[1].type, schema::ValueType::Double);
  const int64_t a = table.find("a"), b = table.find("b"), c = table.find(std::string_view("c\0d", 3));
  EXPECT_EQ(table.value(a, 0).text, "acme");
  EXPECT_EQ(table.value(a, 1).number, 2.5);
  EXPECT_EQ(table.value(a, 2).integer, -7);
  EXPECT_FALSE(table.value(b, 0).is_null);
  EXPECT_NE(table.value(b, 0).text.data(), nullptr);
  EXPECT_EQ(table.value(b, 0).text, "");
  EXPECT_TRUE(table.value(b, 1).is_null);
  EXPECT_TRUE(std::isnan(table.value(b, 1).number));
  EXPECT_EQ(table.value(b, 2).integer, INT64_MIN);
  EXPECT_TRUE(table.value(c, 0).is_null);
  EXPECT_EQ(table.value(c, 0).text.data(), nullptr);
  EXPECT_TRUE(table.value(c, 1).is_null);
  EXPECT_EQ(table.find("c"), -1);
  EXPECT_EQ(table.find(""), -1);
}

TEST_F(EntityTableFile, OrderOfAddingChangesNothing) {
  write_three(path_, {0, 1, 2});
  write_three(folder_ + "/other.table", {2, 0, 1});
  EXPECT_EQ(base::read_file(path_), base::read_file(folder_ + "/other.table"));
}

TEST_F(EntityTableFile, FindsAllOfManyAndNoOther) {
  EntityTableWriter writer({{"n", schema::ValueType::Int}});
  for (int64_t i = 0; i < 5000; ++i) writer.add("id" + std::to_string(i), {integer(i * i)});
  writer.write(path_);
  const EntityTable table = EntityTable::open(path_);
  for (int64_t i = 0; i < 5000; ++i) {
    const int64_t row = table.find("id" + std::to_string(i));
    ASSERT_GE(row, 0) << i;
    ASSERT_EQ(table.value(row, 0).integer, i * i);
    ASSERT_EQ(table.find("no" + std::to_string(i)), -1);
  }
  std::vector<std::string> ids;
  for (int64_t i = 0; i < 6000; ++i) ids.push_back("id" + std::to_string(i * 4999 % 6000));
  std::vector<int64_t> rows(ids.size());
  table.find_all(ids, rows);
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(rows[i], table.find(ids[i])) << ids[i];
}

TEST_F(EntityTableFile, EmptyTable) {
  EntityTableWriter({}).write(path_);
  const EntityTable table = EntityTable::open(path_);
  EXPECT_EQ(table.num_rows(), 0);
  EXPECT_EQ(table.find("a"), -1);
}

TEST_F(EntityTableFile, DuplicateIdIsTheUsersError) {
  EntityTableWriter writer({});
  writer.add("a", {});
  writer.add("a", {});
  try {
    writer.write(path_);
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_EQ(std::string(error.what()), path_ + ": the id \"a\" stands twice");
  }
}

TEST_F(EntityTableFile, DamageIsNamed) {
  write_three(path_, {0, 1, 2});
  const std::string good = base::read_file(path_);
  EXPECT_EQ(open_error(""), ": not a valid entity table: 0 bytes");
  EXPECT_EQ(open_error(good.substr(0, 63)), ": not a valid entity table: 63 bytes");
  EXPECT_EQ(open_error(good.substr(0, good.size() - 1)), ": not a valid entity table: expected " +
                                                             std::to_string(good.size()) + " bytes, got " +
                                                             std::to_string(good.size() - 1));
  std::string magic = good;
  magic[0] = 'x';
  EXPECT_EQ(open_error(magic), ": not a valid entity table: wrong magic");
  std::string flipped = good;
  flipped.back() ^= 1;
  EXPECT_EQ(open_error(flipped), ": not a valid entity table: checksum");
  std::string sizes = good;
  sizes[31] = 0x7f;  // num_columns
  EXPECT_EQ(open_error(sizes), ": not a valid entity table: sizes in the header");
}

TEST_F(EntityTableFile, AnIdOutsideTheHeapIsFoundOnOpenAlsoIfFlaggedNull) {
  write_three(path_, {0, 1, 2});
  std::string content = base::read_file(path_);
  uint64_t columns_bytes = 0;
  std::memcpy(&columns_bytes, content.data() + 40, 8);
  const size_t first_cell = 64 + columns_bytes + 8 * 4;  // 3 rows: 8 slots
  const uint64_t far = uint64_t{1} << 40;
  std::memcpy(content.data() + first_cell, &far, 8);
  renew_checksum(content);
  EXPECT_EQ(open_error(content), ": not a valid entity table: a text outside the heap");
  content[first_cell + 12] = 1;  // null
  renew_checksum(content);
  EXPECT_EQ(open_error(content), ": not a valid entity table: a text outside the heap");
}

// Any forged byte is refused, or gives a table every lookup of which stays
// inside the file (the sanitizer build watches).
TEST_F(EntityTableFile, ForgedBytesAreRefusedOrHarmless) {
  write_three(path_, {0, 1, 2});
  const std::string good = base::read_file(path_);
  base::RandomStream random(1, 2);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string content = good;
    for (uint64_t k = 0; k < 1 + random.below(3); ++k)
      content[16 + random.below(content.size() - 16)] = static_cast<char>(random.below(256));
    renew_checksum(content);
    if (open_error(content) != "no error") {
      ++refused;
      continue;
    }
    const EntityTable table = EntityTable::open(path_);
    size_t sum = 0;
    for (std::string_view id : {"a", "b", "zz"}) sum += static_cast<size_t>(table.find(id) + 1);
    for (int64_t row = 0; row < table.num_rows(); ++row) {
      for (size_t c = 0; c < table.columns().size(); ++c)
        sum += std::hash<std::string_view>()(table.value(row, static_cast<int>(c)).text);
    }
    EXPECT_NE(sum, size_t{1} << 63);
  }
  EXPECT_GT(refused, 40);
}

}  // namespace
}  // namespace uniscale::bundle
