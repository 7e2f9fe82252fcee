#include "table/parquet.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <arrow/util/decimal.h>
#include <gtest/gtest.h>
#include <parquet/api/reader.h>
#include <parquet/arrow/writer.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "base/threads.h"
#include "base/time.h"

namespace uniscale::table {
namespace {

class ParquetFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "parquet_test_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    base::make_directories(folder_);
    path_ = folder_ + "/file.parquet";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::vector<Table>& tables, ParquetWriteOptions options = {}) {
    ParquetWriter writer(path_, std::move(options));
    for (const Table& table : tables) writer.write(table);
    writer.close();
  }

  // A file as another program writes it.
  void write_arrow(const std::shared_ptr<arrow::Array>& array, bool keep_arrow_types, bool int96 = false) {
    const auto table = arrow::Table::Make(arrow::schema({arrow::field("x", array->type())}), {array});
    auto file = arrow::io::FileOutputStream::Open(path_).ValueOrDie();
    parquet::ArrowWriterProperties::Builder types;
    if (keep_arrow_types) types.store_schema();
    if (int96) types.enable_deprecated_int96_timestamps();
    ASSERT_TRUE(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), file, 1 << 20,
                                           parquet::default_writer_properties(), types.build())
                    .ok());
    ASSERT_TRUE(file->Close().ok());
  }

  Column read_x() { return *ParquetReader(path_).read_row_group(0).find("x"); }

  template <class Call>
  std::string error_of(Call call) {
    try {
      call();
    } catch (const base::UserError& error) {
      return error.what();
    }
    return "no error";
  }

  std::string folder_, path_;
};

template <class Builder, class... Args>
std::shared_ptr<arrow::Array> build(std::unique_ptr<Builder> builder, Args... values) {
  (static_cast<void>(builder->Append(values)), ...);
  static_cast<void>(builder->AppendNull());
  return builder->Finish().ValueOrDie();
}

template <class Builder, class... Args>
std::shared_ptr<arrow::Array> typed(const std::shared_ptr<arrow::DataType>& type, Args... values) {
  return build(std::make_unique<Builder>(type, arrow::default_memory_pool()), values...);
}

// Requests of 0, 1, 2, … candidates in the shape of a log.
Table nested(int64_t num_rows, int64_t first = 0) {
  StringVector ids, items;
  ValueVector<double> prices;
  std::vector<int32_t> offsets{0};
  for (int64_t i = first; i < first + num_rows; ++i) {
    i % 7 == 3 ? ids.push_null() : ids.push("r" + std::to_string(i));
    for (int64_t c = 0; c < i % 4; ++c) {
      items.push("i" + std::to_string(c * 31 % 5));
      c == 1 ? prices.push_null() : prices.push(static_cast<double>(i) + 0.5);
    }
    offsets.push_back(static_cast<int32_t>(items.size()));
  }
  const int64_t n = items.size();
  Table table;
  table.add("id", make_strings(std::move(ids)));
  std::vector<Column> inner;
  inner.push_back(make_doubles(std::move(prices.values), std::move(prices.valid)));
  std::vector<Column> outer;
  outer.push_back(make_strings(std::move(items)));
  outer.push_back(make_struct({"price"}, std::move(inner), n));
  table.add("items",
            make_list(std::move(offsets), make_struct({"item_id", "candidate"}, std::move(outer), n)));
  std::vector<uint8_t> flags;
  for (int64_t i = first; i < first + num_rows; ++i) flags.push_back(i % 3 == 0);
  table.add("flag", make_bools(std::move(flags)));
  return table;
}

// Rows [begin, begin + b.num_rows()) of `a` against all rows of `b`, value by value.
void expect_rows(const Table& a, int64_t begin, const Table& b) {
  for (int64_t i = 0; i < b.num_rows(); ++i) {
    const int64_t j = begin + i;
    ASSERT_EQ(a.find("id")->is_valid(j), b.find("id")->is_valid(i));
    ASSERT_EQ(a.find("id")->string(j), b.find("id")->string(i));
    ASSERT_EQ(a.find("flag")->bools()[static_cast<size_t>(j)],
              b.find("flag")->bools()[static_cast<size_t>(i)]);
    const Column &x = *a.find("items"), &y = *b.find("items");
    ASSERT_EQ(x.list_end(j) - x.list_begin(j), y.list_end(i) - y.list_begin(i));
    const Column &xi = *x.child(0).find_child("item_id"), &yi = *y.child(0).find_child("item_id");
    const Column &xp = *x.child(0).find_child("candidate")->find_child("price"),
                 &yp = *y.child(0).find_child("candidate")->find_child("price");
    for (int64_t c = 0; c < x.list_end(j) - x.list_begin(j); ++c) {
      const int64_t p = x.list_begin(j) + c, q = y.list_begin(i) + c;
      ASSERT_EQ(xi.string(p), yi.string(q));
      ASSERT_EQ(xp.is_valid(p), yp.is_valid(q));
      if (xp.is_valid(p)) {
        ASSERT_EQ(xp.doubles()[static_cast<size_t>(p)], yp.doubles()[static_cast<size_t>(q)]);
      }
    }
  }
}

TEST_F(ParquetFiles, ComeBackAsWritten) {
  const Table first = nested(20), second = nested(9, 20);
  write({first, second}, {.metadata = {{"uniscale.kind", "test"}}});
  const ParquetReader reader(path_);
  EXPECT_EQ(reader.num_rows(), 29);
  ASSERT_EQ(reader.num_row_groups(), 2);
  EXPECT_EQ(reader.row_group_rows(1), 9);
  EXPECT_EQ(reader.column_names(), (std::vector<std::string>{"id", "items", "flag"}));
  EXPECT_EQ(reader.metadata(), (std::map<std::string, std::string>{{"uniscale.kind", "test"}}));
  const Table group0 = reader.read_row_group(0), group1 = reader.read_row_group(1);
  ASSERT_EQ(group0.num_rows(), 20);
  ASSERT_EQ(group1.num_rows(), 9);
  expect_rows(first, 0, group0);
  expect_rows(second, 0, group1);
}

TEST_F(ParquetFiles, AColumnOutlivesItsReader) {
  write({nested(20)});
  const Column ids = *ParquetReader(path_).read_row_group(0).find("id");
  EXPECT_EQ(ids.string(19), "r19");
}

TEST_F(ParquetFiles, ReadTablesCanBeWrittenAgain) {
  write({nested(20)});
  const Table read = ParquetReader(path_).read_row_group(0);
  const std::string bytes = base::read_file(path_);
  write({read});
  EXPECT_EQ(base::read_file(path_), bytes);
}

TEST_F(ParquetFiles, BatchesCrossNoRowTwice) {
  const Table all = nested(100);
  write({nested(60), nested(40, 60)});
  for (int64_t batch_rows : {1, 7, 64, 1000}) {
    int64_t begin = 0;
    ParquetReader(path_).for_each_batch(batch_rows, {}, [&](const Table& batch) {
      EXPECT_LE(batch.num_rows(), batch_rows);
      expect_rows(all, begin, batch);
      begin += batch.num_rows();
    });
    EXPECT_EQ(begin, 100);
  }
}

TEST_F(ParquetFiles, ProjectionReadsNestedLeavesByDottedPath) {
  write({nested(20)});
  const ParquetReader reader(path_);
  const Table table = reader.read_row_group(0, {"items.candidate.price", "flag", "nothing"});
  EXPECT_EQ(table.find("id"), nullptr);
  EXPECT_EQ(table.find("nothing"), nullptr);
  ASSERT_NE(table.find("flag"), nullptr);
  const Column& item = table.find("items")->child(0);
  EXPECT_EQ(item.num_children(), 1);
  EXPECT_EQ(item.find_child("candidate")->find_child("price")->doubles()[0], 1.5);
  // A path is whole names, not a prefix of characters.
  EXPECT_EQ(reader.read_row_group(0, {"items.item"}).num_columns(), 0);
}

TEST_F(ParquetFiles, SameTablesGiveSameBytes) {
  write({nested(500)}, {.plain_columns = {"id", "items.item_id"}});
  const std::string bytes = base::read_file(path_);
  write({nested(500)}, {.plain_columns = {"id", "items.item_id"}});
  EXPECT_EQ(base::read_file(path_), bytes);
}

TEST_F(ParquetFiles, PlainColumnsHaveNoDictionaryAndStatisticsAreOn) {
  write({nested(500)}, {.plain_columns = {"items.item_id"}});
  const auto file = parquet::ParquetFileReader::OpenFile(path_);
  for (int c = 0; c < 3; ++c) {
    const auto chunk = file->metadata()->RowGroup(0)->ColumnChunk(c);
    EXPECT_EQ(chunk->has_dictionary_page(),
              chunk->path_in_schema()->ToDotString() != "items.list.element.item_id");
    EXPECT_TRUE(chunk->is_stats_set());
    EXPECT_EQ(chunk->compression(), parquet::Compression::ZSTD);
  }
}

TEST_F(ParquetFiles, AFileWithoutRowsHasItsColumns) {
  write({nested(0)});
  const ParquetReader reader(path_);
  EXPECT_EQ(reader.num_rows(), 0);
  EXPECT_EQ(reader.column_names().size(), 3U);
}

TEST_F(ParquetFiles, OneReaderServesManyThreads) {
  std::vector<Table> tables;
  for (int64_t g = 0; g < 8; ++g) tables.push_back(nested(30, g * 30));
  write(tables);
  const ParquetReader reader(path_);
  base::parallel_for(4, 8, [&](int64_t g) {
    expect_rows(tables[static_cast<size_t>(g)], 0, reader.read_row_group(static_cast<int>(g)));
  });
}

TEST_F(ParquetFiles, AWriterThatIsNotClosedLeavesNoReadableFile) {
  {
    ParquetWriter(path_, {}).write(nested(20));
  }
  EXPECT_NE(error_of([&] { ParquetReader reader(path_); }), "no error");
}

TEST_F(ParquetFiles, ARowGroupWithOtherColumnsIsRefused) {
  ParquetWriter writer(path_, {});
  writer.write(nested(5));
  Table other;
  other.add("id", make_int32s({1}));
  const std::string text = error_of([&] { writer.write(other); });
  EXPECT_TRUE(text.starts_with(path_ + ": a row group with other columns: expected id: string")) << text;
}

TEST_F(ParquetFiles, UnknownCodecIsNamed) {
  ParquetWriter writer(path_, {.codec = "lzma"});
  EXPECT_EQ(error_of([&] { writer.write(nested(1)); }), "codec: expected zstd, snappy or none, got lzma");
}

TEST_F(ParquetFiles, AFolderThatIsNotThereIsAnIoError) {
  EXPECT_THROW(ParquetWriter(folder_ + "/none/x.parquet", {}), base::IoError);
}

TEST_F(ParquetFiles, MissingAndForeignFilesAreNamed) {
  EXPECT_EQ(error_of([&] { ParquetReader reader(path_); }), path_ + ": no such file");
  base::write_file_atomically(path_, "a,b\n1,2\n3,4\n");
  EXPECT_TRUE(
      error_of([&] { ParquetReader reader(path_); }).starts_with(path_ + ": not a readable Parquet file"));
  base::write_file_atomically(path_, "");
  EXPECT_TRUE(
      error_of([&] { ParquetReader reader(path_); }).starts_with(path_ + ": not a readable Parquet file"));
}

// Whatever stands in a file: rows or a UserError, never a crash, an endless loop or another exception.
TEST_F(ParquetFiles, TruncatedAndFlippedFilesAreErrorsOrRows) {
  write({nested(40), nested(10, 40)});
  const std::string good = base::read_file(path_);
  int num_errors = 0;
  const auto read_all = [&] {
    try {
      const ParquetReader reader(path_);
      for (int g = 0; g < reader.num_row_groups(); ++g) reader.read_row_group(g);
      reader.for_each_batch(16, {}, [](const Table&) {});
    } catch (const base::UserError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(path_)) << error.what();
      ++num_errors;
    }
  };
  const auto put = [&](const std::string& bytes) {
    FILE* file = std::fopen(path_.c_str(), "wb");
    ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
    std::fclose(file);
  };
  int num_truncated = 0;
  for (size_t size = 0; size < good.size(); size += 13, ++num_truncated) {
    put(good.substr(0, size));
    read_all();
  }
  EXPECT_EQ(num_errors, num_truncated);
  base::RandomStream random(7, 1);
  for (int round = 0; round < 600; ++round) {
    std::string bad = good;
    const size_t at = random.below(bad.size());
    bad[at] = static_cast<char>(random.next_u64());
    put(bad);
    read_all();
  }
  EXPECT_GT(num_errors, num_truncated + 100);
}

TEST_F(ParquetFiles, TimesOfAnyUnitBecomeMilliseconds) {
  const int64_t year_9999_ms = 253'402'300'799'000;
  for (const char* zone : {"", "UTC", "Europe/Berlin"}) {
    write_arrow(typed<arrow::TimestampBuilder>(arrow::timestamp(arrow::TimeUnit::MICRO, zone),
                                               year_9999_ms * 1000, int64_t{1'999}, int64_t{-1}),
                true);
    const Column x = read_x();
    ASSERT_EQ(x.type(), Type::Int64);
    EXPECT_EQ(x.int64s()[0], year_9999_ms);
    EXPECT_EQ(x.int64s()[1], 1);
    EXPECT_EQ(x.int64s()[2], -1) << "rounds down, also before 1970";
    EXPECT_FALSE(x.is_valid(3));
    EXPECT_TRUE(x.source_type().starts_with("timestamp[us")) << x.source_type();
  }
  write_arrow(typed<arrow::TimestampBuilder>(arrow::timestamp(arrow::TimeUnit::NANO), int64_t{-1'000'001}),
              true);
  EXPECT_EQ(read_x().int64s()[0], -2);
  write_arrow(typed<arrow::TimestampBuilder>(arrow::timestamp(arrow::TimeUnit::SECOND), int64_t{12}), true);
  EXPECT_EQ(read_x().int64s()[0], 12'000);
  write_arrow(typed<arrow::TimestampBuilder>(arrow::timestamp(arrow::TimeUnit::MICRO), year_9999_ms * 1000),
              false, true);
  EXPECT_EQ(read_x().int64s()[0], year_9999_ms) << "INT96";
  write_arrow(typed<arrow::Date32Builder>(arrow::date32(), 20'000, -1), true);
  EXPECT_EQ(read_x().int64s()[0], 20'000 * base::kDayMs);
  EXPECT_EQ(read_x().int64s()[1], -base::kDayMs);
}

TEST_F(ParquetFiles, NumbersOfAnyWidthBecomeTheFew) {
  write_arrow(typed<arrow::UInt8Builder>(arrow::uint8(), uint8_t{255}), true);
  EXPECT_EQ(read_x().int64s()[0], 255);
  write_arrow(typed<arrow::Int16Builder>(arrow::int16(), int16_t{-3}), true);
  EXPECT_EQ(read_x().int64s()[0], -3);
  write_arrow(typed<arrow::UInt32Builder>(arrow::uint32(), uint32_t{4'000'000'000}), true);
  EXPECT_EQ(read_x().int64s()[0], 4'000'000'000);
  write_arrow(typed<arrow::Int8Builder>(arrow::int8(), int8_t{-8}), true);
  EXPECT_EQ(read_x().int8s()[0], -8);
  write_arrow(typed<arrow::UInt64Builder>(arrow::uint64(), uint64_t{1} << 62), true);
  EXPECT_EQ(read_x().int64s()[0], int64_t{1} << 62);
  write_arrow(typed<arrow::UInt64Builder>(arrow::uint64(), uint64_t{5}, uint64_t{1} << 63), true);
  EXPECT_EQ(read_x().string(0), "5") << "beyond 2^63 - 1 the digits, of every row";
  EXPECT_EQ(read_x().string(1), "9223372036854775808");
  EXPECT_FALSE(read_x().is_valid(2));
  write_arrow(typed<arrow::HalfFloatBuilder>(arrow::float16(), uint16_t{0x3E00}), true);
  EXPECT_EQ(read_x().floats()[0], 1.5F);
  write_arrow(typed<arrow::Decimal128Builder>(arrow::decimal128(10, 2), arrow::Decimal128(-1234)), true);
  EXPECT_DOUBLE_EQ(read_x().doubles()[0], -12.34);
  EXPECT_FALSE(read_x().is_valid(1));
  const auto whole = arrow::decimal128(38, 0);
  write_arrow(typed<arrow::Decimal128Builder>(whole, arrow::Decimal128(-7), arrow::Decimal128(INT64_MAX),
                                              arrow::Decimal128(INT64_MIN)),
              true);
  EXPECT_EQ(read_x().int64s()[0], -7);
  EXPECT_EQ(read_x().int64s()[1], INT64_MAX);
  EXPECT_EQ(read_x().int64s()[2], INT64_MIN);
  write_arrow(typed<arrow::Decimal128Builder>(whole, arrow::Decimal128("123456789012345678901234567890"),
                                              arrow::Decimal128(-7)),
              true);
  EXPECT_EQ(read_x().string(0), "123456789012345678901234567890");
  EXPECT_EQ(read_x().string(1), "-7");
}

TEST_F(ParquetFiles, TextOfAnyLayoutBecomesStrings) {
  const auto check = [&](const std::shared_ptr<arrow::Array>& array) {
    write_arrow(array, true);
    const Column x = read_x();
    ASSERT_EQ(x.type(), Type::String) << array->type()->ToString();
    EXPECT_EQ(x.string(0), "ab");
    EXPECT_EQ(x.string(1), "");
    EXPECT_TRUE(x.is_valid(1));
    EXPECT_FALSE(x.is_valid(2));
  };
  check(typed<arrow::StringBuilder>(arrow::utf8(), "ab", ""));
  check(typed<arrow::LargeStringBuilder>(arrow::large_utf8(), "ab", ""));
  check(typed<arrow::BinaryBuilder>(arrow::binary(), "ab", ""));
  check(typed<arrow::LargeBinaryBuilder>(arrow::large_binary(), "ab", ""));
  arrow::StringDictionaryBuilder dictionary;
  ASSERT_TRUE(dictionary.Append("ab").ok() && dictionary.Append("").ok() && dictionary.AppendNull().ok());
  check(dictionary.Finish().ValueOrDie());
  write_arrow(typed<arrow::FixedSizeBinaryBuilder>(arrow::fixed_size_binary(2), "ab"), true);
  EXPECT_EQ(read_x().string(0), "ab");
  EXPECT_FALSE(read_x().is_valid(1));
}

TEST_F(ParquetFiles, ListsOfAnyLayoutBecomeLists) {
  const auto check = [&](auto&& builder, arrow::FloatBuilder& values) {
    ASSERT_TRUE(builder.Append().ok() && values.Append(1).ok() && values.Append(2).ok());
    ASSERT_TRUE(builder.Append().ok() && values.Append(3).ok() && values.Append(4).ok());
    write_arrow(builder.Finish().ValueOrDie(), true);
    const Column x = read_x();
    ASSERT_EQ(x.type(), Type::List);
    EXPECT_EQ(x.list_begin(1), 2);
    EXPECT_EQ(x.list_end(1), 4);
    EXPECT_EQ(x.child(0).floats()[3], 4.0F);
  };
  const auto values = std::make_shared<arrow::FloatBuilder>();
  check(arrow::ListBuilder(arrow::default_memory_pool(), values), *values);
  check(arrow::LargeListBuilder(arrow::default_memory_pool(), values), *values);
  check(arrow::FixedSizeListBuilder(arrow::default_memory_pool(), values, 2), *values);
}

TEST_F(ParquetFiles, TypesWithoutAPlaceAreNamed) {
  write_arrow(typed<arrow::Time64Builder>(arrow::time64(arrow::TimeUnit::MICRO), int64_t{1}), true);
  EXPECT_EQ(error_of([&] { read_x(); }), path_ + ": column x: values of type time64[us] are not supported");
}

// One row group of 64 MB in memory goes by in batches; only a few MB may stand at once.
TEST_F(ParquetFiles, StreamingAHugeRowGroupHoldsLittleMemory) {
  constexpr int64_t kRows = 4'000'000;
  {
    base::RandomStream random(3, 3);
    std::vector<int64_t> a(kRows), b(kRows);
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<int64_t>(random.next_u64());
      b[i] = static_cast<int64_t>(i);
    }
    Table table;
    table.add("a", make_int64s(std::move(a)));
    table.add("b", make_int64s(std::move(b)));
    write({table}, {.plain_columns = {"a", "b"}});
  }
  ASSERT_EQ(ParquetReader(path_).num_row_groups(), 1);
  int64_t rows = 0, most = 0;
  const int64_t before = arrow::system_memory_pool()->bytes_allocated();
  ParquetReader(path_).for_each_batch(8192, {}, [&](const Table& batch) {
    rows += batch.num_rows();
    most = std::max(most, arrow::system_memory_pool()->bytes_allocated() - before);
  });
  EXPECT_EQ(rows, kRows);
  EXPECT_GT(most, 0);
  EXPECT_LT(most, 8 << 20);
}

// Coded strings inside lists of structs, with another dictionary in each row group, words that no row uses,
// nulls, and a column that is null throughout.
TEST_F(ParquetFiles, CodedStringsReadAsStrings) {
  const auto rows_of = [](std::vector<int32_t> codes, const std::vector<const char*>& words) {
    StringVector dictionary;
    for (const char* word : words) dictionary.push(word);
    const auto n = static_cast<int32_t>(codes.size());
    std::vector<Column> fields;
    fields.push_back(make_coded_strings(codes, std::move(dictionary)));
    fields.push_back(make_coded_strings(std::vector<int32_t>(codes.size(), -1), {}));
    Table table;
    table.add("items", make_list({0, 1, 1, n}, make_struct({"id", "none"}, std::move(fields), n)));
    return table;
  };
  write({rows_of({1, 0, -1, 1, 1}, {"b", "", "unused"}), rows_of({0, 0, 0}, {"c\0d"})}, {});
  const ParquetReader reader(path_);
  ASSERT_EQ(reader.num_row_groups(), 2);
  const Table read = reader.read_row_group(0);
  const Column& ids = read.require("items", Type::List, path_).child(0).child(0);
  ASSERT_EQ(ids.type(), Type::String);
  ASSERT_EQ(ids.length(), 5);
  EXPECT_EQ(ids.string(0), "");
  EXPECT_TRUE(ids.is_valid(0));
  EXPECT_EQ(ids.string(1), "b");
  EXPECT_FALSE(ids.is_valid(2));
  EXPECT_EQ(read.find("items")->list_end(1), 1);
  EXPECT_FALSE(read.find("items")->child(0).child(1).is_valid(4));
  EXPECT_EQ(reader.read_row_group(1).find("items")->child(0).child(0).string(2), "c");
}

// Texts in a list of structs, the shape of a request's candidates, with nulls and an empty list, in two row
// groups.
TEST_F(ParquetFiles, StringsStayCodedWhereAsked) {
  const auto group = [](int seed) {
    StringVector ids, others;
    std::vector<int32_t> offsets{0, 3, 3};
    for (int i = 0; i < 500; ++i) {
      if (i % 7 == 3)
        ids.push_null();
      else
        ids.push("item " + std::to_string((i * 13 + seed) % 40));
      others.push("o" + std::to_string(i % 3));
    }
    offsets.push_back(500);
    Table table;
    table.add("list",
              make_list(offsets,
                        make_struct({"id", "other"},
                                    {make_strings(std::move(ids)), make_strings(std::move(others))}, 500)));
    return table;
  };
  write({group(0), group(5)});
  const ParquetReader plain(path_), coded(path_, {"list.id"});
  for (int g = 0; g < 2; ++g) {
    const Table want = plain.read_row_group(g), got = coded.read_row_group(g);
    const Column &a = want.find("list")->child(0), &b = got.find("list")->child(0);
    EXPECT_FALSE(a.find_child("id")->is_coded());
    EXPECT_FALSE(b.find_child("other")->is_coded());
    const Column& ids = *b.find_child("id");
    ASSERT_TRUE(ids.is_coded());
    EXPECT_EQ(ids.dictionary().length(), 40);
    ASSERT_EQ(ids.codes().size(), 500U);
    for (int64_t i = 0; i < 500; ++i) {
      EXPECT_EQ(ids.is_valid(i), a.find_child("id")->is_valid(i)) << i;
      EXPECT_EQ(ids.string(i), a.find_child("id")->string(i)) << i;
      if (ids.is_valid(i)) {
        EXPECT_EQ(ids.dictionary().string(ids.codes()[static_cast<size_t>(i)]), ids.string(i)) << i;
      }
    }
    EXPECT_EQ(want.find("list")->list_end(2), got.find("list")->list_end(2));
  }
}

// So many different texts that the writer gives its dictionary up half way.
TEST_F(ParquetFiles, StringsStayCodedWithoutADictionaryInTheFile) {
  StringVector ids;
  for (int i = 0; i < 200'000; ++i) ids.push("a rather long identifier " + std::to_string(i));
  Table table;
  table.add("id", make_strings(std::move(ids)));
  write({table});
  const Column got = *ParquetReader(path_, {"id"}).read_row_group(0).find("id");
  ASSERT_EQ(got.length(), 200'000);
  for (int64_t i = 0; i < got.length(); i += 777)
    EXPECT_EQ(got.string(i), "a rather long identifier " + std::to_string(i));
}

TEST(CodedStrings, ReadLikePlainOnes) {
  StringVector dictionary;
  dictionary.push("x");
  dictionary.push("yy");
  const Column column = make_coded_strings({1, -1, 0, 1}, std::move(dictionary));
  ASSERT_EQ(column.length(), 4);
  EXPECT_EQ(column.string(0), "yy");
  EXPECT_EQ(column.string(1).data(), nullptr);
  EXPECT_EQ(column.string(2), "x");
  EXPECT_EQ(column.string(3), "yy");
}

}  // namespace
}  // namespace uniscale::table
