#include "cli/score_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "table/parquet.h"

namespace uniscale::cli {
namespace {

class ScoreFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "us-scores-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& text) {
    const std::string path = folder_ + "/s.csv";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  // The message without the folder.
  std::string error_of(const std::string& path) {
    try {
      read_score_file(path);
    } catch (const base::UserError& error) {
      const std::string text = error.what();
      return text.substr(text.rfind(folder_, 0) == 0 ? folder_.size() + 1 : 0);
    }
    return "no error";
  }
  std::string folder_;
};

TEST_F(ScoreFile, ReadsColumnsByNameInAnyOrder) {
  const auto input = read_score_file(
      write("\xEF\xBB\xBFscore,user_id,extra,label,domain,request_id,weight,origin\r\n"
            "0.5,\"a,\"\"b\",x,1,feed,r1,2,exposed\r\n\r\n-1e-3,,y,0,search,r2,0.5,unexposed"));
  EXPECT_EQ(input.scores, (std::vector<float>{.5F, -1e-3F}));
  EXPECT_EQ(input.labels, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(input.users, (std::vector<uint64_t>{eval::row_key("a,\"b"), eval::kNoUser}));
  EXPECT_EQ(input.requests, (std::vector<uint64_t>{eval::row_key("r1"), eval::row_key("r2")}));
  EXPECT_EQ(input.weights, (std::vector<double>{2, .5}));
  EXPECT_EQ(input.domains, (std::vector<std::string>{"feed", "search"}));
  EXPECT_EQ(input.origins, (std::vector<std::string>{"exposed", "unexposed"}));
}

TEST_F(ScoreFile, OptionalColumnsMayBeAbsent) {
  const auto input = read_score_file(write("user_id,label,score\nu,1,0.25\n"));
  EXPECT_TRUE(input.requests.empty());
  EXPECT_TRUE(input.weights.empty());
  EXPECT_TRUE(input.domains.empty());
}

TEST_F(ScoreFile, ErrorsNameFileRowAndColumn) {
  EXPECT_EQ(error_of(folder_ + "/none.csv"), "none.csv: no such file");
  EXPECT_EQ(error_of(write("")), "s.csv: empty file");
  EXPECT_EQ(error_of(write("user_id,label,score\n")), "s.csv: no rows");
  EXPECT_EQ(error_of(write("user,label,score\n")),
            "s.csv: column user_id: missing (there are: user, label, score)");
  EXPECT_EQ(error_of(write("user_id,label,score,label\n")), "s.csv: column label: stands twice");
  EXPECT_EQ(error_of(write("user_id,label,score\nu,1,0.2\nu,yes,0.2\n")),
            "s.csv: row 1: label: expected a number, got \"yes\"");
  EXPECT_EQ(error_of(write("user_id,label,score\nu,2,0.2\n")), "s.csv: row 0: label: expected 0 or 1, got 2");
  EXPECT_EQ(error_of(write("user_id,label,score\n\nu,1,nan\n")),
            "s.csv: row 0: score: expected a finite number, got nan");
  EXPECT_EQ(error_of(write("user_id,label,score\nu,1,1e300\n")),
            "s.csv: row 0: score: expected a finite number, got 1e+300");
  EXPECT_EQ(error_of(write("user_id,label,score,weight\nu,1,1,-1\n")),
            "s.csv: row 0: weight: expected a number of at least 0, got -1");
  EXPECT_EQ(error_of(write("user_id,label,score\nu,1\n")), "s.csv: row 0: expected 3 columns, got 2");
  EXPECT_EQ(error_of(write("user_id,label,score\nu,1,\"0.5\n")),
            "s.csv: the file ends inside a quoted field");
}

TEST_F(ScoreFile, ParquetOfIntegersAndDoublesReadsLikeCsv) {
  table::Table rows;
  rows.add("user_id", table::make_int64s({7, 9007199254740993}));
  rows.add("label", table::make_bools({1, 0}));
  rows.add("score", table::make_doubles({.5, .25}));
  const std::string path = folder_ + "/s.parquet";
  table::ParquetWriter writer(path, {});
  writer.write(rows);
  writer.close();
  const auto input = read_score_file(path);
  EXPECT_EQ(input.users, (std::vector<uint64_t>{eval::row_key("7"), eval::row_key("9007199254740993")}));
  EXPECT_EQ(input.labels, (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(input.scores, (std::vector<float>{.5F, .25F}));
}

TEST_F(ScoreFile, ParquetWithNullsOrWrongTypesIsRefused) {
  const std::string path = folder_ + "/s.parquet";
  const auto write_parquet = [&](table::Column label, table::Column user) {
    table::Table rows;
    rows.add("user_id", std::move(user));
    rows.add("label", std::move(label));
    rows.add("score", table::make_floats({.5F, .25F}));
    table::ParquetWriter writer(path, {});
    writer.write(rows);
    writer.close();
  };
  write_parquet(table::make_int32s({1, 0}, {1, 0}), table::make_int64s({1, 2}));
  EXPECT_EQ(error_of(path), "s.parquet: row 1: label: expected a number, got null");
  write_parquet(table::make_int32s({1, 0}), table::make_doubles({1, 2}));
  EXPECT_EQ(error_of(path), "s.parquet: column user_id: expected text or integers, got double");
}

TEST_F(ScoreFile, TwoFilesOfOtherRowsAreRefused) {
  const auto a = read_score_file(write("user_id,label,score\nu,1,1\nv,0,0\n"));
  const auto error = [&](const std::string& text) {
    const auto b = read_score_file(write(text));
    try {
      require_same_rows(a, b, "b.csv");
    } catch (const base::UserError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error("user_id,label,score\nu,1,3\nv,0,2\n"), "no error");
  EXPECT_EQ(error("user_id,label,score\nu,1,1\n"), "b.csv: expected 2 rows as in the first file, got 1");
  EXPECT_EQ(error("user_id,label,score\nu,1,1\nw,0,0\n"),
            "b.csv: row 1: user_id: expected the same as in the first file");
  EXPECT_EQ(error("user_id,label,score\nu,1,1\nv,1,0\n"),
            "b.csv: row 1: label: expected the same as in the first file");
}

}  // namespace
}  // namespace uniscale::cli
