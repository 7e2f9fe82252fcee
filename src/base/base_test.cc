#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/threads.h"
#include "base/time.h"

namespace uniscale::base {
namespace {

TEST(Hash, LengthPrefixesSeparateFields) {
  EXPECT_NE(stable_hash(0, "ab", "c"), stable_hash(0, "a", "bc"));
  EXPECT_NE(stable_hash(0, "a"), stable_hash(1, "a"));
  EXPECT_NE(stable_hash(0, ""), stable_hash(0, "", ""));
  // The definition, spelled out: 8 bytes of length, little endian, then the
  // bytes.
  EXPECT_EQ(stable_hash(5, "abc"),
            hash_bytes(std::string("\x03\0\0\0\0\0\0\0abc", 11), 5));
  const std::string large(1000, 'x');
  EXPECT_EQ(stable_hash(5, large),
            hash_bytes(std::string("\xe8\x03\0\0\0\0\0\0", 8) + large, 5));
}

TEST(Hash, KnownValues) {
  EXPECT_EQ(hex64(hash_bytes("", 0)), "2d06800538d394c2"); // XXH3-64 of nothing
  EXPECT_EQ(content_hash(""),
            "99aa06d3014798d86001c324468d497f"); // XXH3-128 of nothing
  ContentHasher hasher;
  hasher.update("ab");
  hasher.update("c");
  EXPECT_EQ(hasher.hex_digest(), content_hash("abc"));
}

TEST(Hash, BucketsAreInRangeAndUsed) {
  std::set<int> seen;
  for (int i = 0; i < 1000; ++i)
    seen.insert(bucket_of_user("u" + std::to_string(i), 16, 3));
  EXPECT_EQ(seen.size(), 16U);
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(*seen.rbegin(), 15);
}

TEST(Random, StreamsAreByCounterAndUniform) {
  RandomStream a(1, 2), b(1, 2), other(1, 3);
  EXPECT_EQ(a.next_u64(), b.next_u64());
  EXPECT_EQ(a.counter(), 1U);
  EXPECT_EQ(RandomStream(1, 2).next_u64(), random_u64(1, 2, 0));
  EXPECT_NE(a.next_u64(), other.next_u64());
  a.set_counter(0);
  double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, waiting = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = a.uniform(), z = a.normal();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ASSERT_LT(a.below(7), 7U);
    sum += u, squares += u * u, normal_sum += z, normal_squares += z * z,
        waiting += a.exponential(3);
  }
  // Six standard errors at 20,000 draws.
  EXPECT_NEAR(sum / kDraws, 0.5, 0.013);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.013);
  EXPECT_NEAR(normal_sum / kDraws, 0, 0.043);
  EXPECT_NEAR(normal_squares / kDraws, 1, 0.06);
  EXPECT_NEAR(waiting / kDraws, 3, 0.13);
}

TEST(Time, Durations) {
  EXPECT_EQ(parse_duration("3d")->ms, 3 * kDayMs);
  EXPECT_EQ(parse_duration("90m")->ms, 90 * kMinuteMs);
  EXPECT_EQ(parse_duration("250ms")->ms, 250);
  EXPECT_EQ(parse_duration("0")->ms, 0);
  for (const char *bad : {"", "3", "d", "-1d", "3 d", "3D", "1.5h",
                          "99999999999999999999d", "999999999999999999d"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  for (int64_t ms : {int64_t{0}, int64_t{1}, kDayMs, 36 * kHourMs,
                     90 * kMinuteMs, int64_t{1500}})
    EXPECT_EQ(parse_duration(format_duration({ms}))->ms, ms);
  EXPECT_EQ(format_duration({90 * kMinuteMs}), "90m");
}

TEST(Time, DaysFloorAlsoBefore1970) {
  EXPECT_EQ(day_of(0).number, 0);
  EXPECT_EQ(day_of(-1).number, -1);
  EXPECT_EQ(day_of(kDayMs - 1).number, 0);
  EXPECT_EQ(day_of(-kDayMs).number, -1);
  EXPECT_EQ(format_day(Day{-1}), "1969-12-31");
  EXPECT_EQ(parse_day("2024-02-29")->number, 19782);
  for (const char *bad : {"2023-02-29", "2024-2-29", "2024-13-01", "2024-00-01",
                          "20240229", "2024-02-29 ", "x024-02-29"})
    EXPECT_FALSE(parse_day(bad)) << bad;
}

TEST(Time, IsoTimes) {
  const int64_t noon = parse_day("2026-03-01")->begin_ms() + 12 * kHourMs;
  EXPECT_EQ(parse_iso_time("2026-03-01T12:00:00Z")->ts_ms, noon);
  EXPECT_EQ(parse_iso_time("2026-03-01T13:00:00+01:00")->ts_ms, noon);
  EXPECT_EQ(parse_iso_time("2026-03-01 06:30:00.250-0530")->ts_ms, noon + 250);
  EXPECT_FALSE(parse_iso_time("2026-03-01T12:00:00Z")->naive);
  EXPECT_TRUE(parse_iso_time("2026-03-01T12:00")->naive);
  EXPECT_EQ(parse_iso_time("2026-03-01T12:00:00.123456Z")->ts_ms, noon + 123);
  EXPECT_EQ(parse_iso_time("2026-03-01T24:00:00Z")->ts_ms, noon + 12 * kHourMs);
  for (const char *bad : {"", "2026-03-01T25:00:00Z", "2026-03-01T24:00:01Z",
                          "2026-03-01T12:60:00Z", "2026-03-01T12:00:61Z",
                          "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00Q",
                          "2026-03-01T12:00:00+1", "2026-02-30T12:00:00Z"})
    EXPECT_FALSE(parse_iso_time(bad)) << bad;
  EXPECT_EQ(format_iso_time(noon + 7), "2026-03-01T12:00:00.007Z");
  EXPECT_EQ(format_iso_time(-1), "1969-12-31T23:59:59.999Z");
}

TEST(Threads, EveryIndexOnceAndTheSmallestFailureWins) {
  for (int threads : {1, 2, 5}) {
    std::vector<std::atomic<int>> hits(100);
    parallel_for(threads, 100,
                 [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
    for (const auto &hit : hits)
      ASSERT_EQ(hit.load(), 1);
    parallel_for(threads, 0, [](int64_t) { FAIL(); });
    try {
      parallel_for(threads, 100, [](int64_t i) {
        if (i >= 10)
          throw UserError("failed at " + std::to_string(i));
      });
      FAIL();
    } catch (const UserError &error) {
      EXPECT_EQ(std::string(error.what()), "failed at 10");
    }
  }
  EXPECT_EQ(resolve_num_threads(3), 3);
  EXPECT_GE(resolve_num_threads(0), 1);
}

class Files : public testing::Test {
protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "base_files_test";
    std::filesystem::remove_all(folder_);
    make_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(Files, WritesWholeAndLeavesNothingAside) {
  write_file_atomically(folder_ + "/a", "one");
  write_file_atomically(folder_ + "/a", std::string("t\0o", 3));
  EXPECT_EQ(read_file(folder_ + "/a"), std::string("t\0o", 3));
  int entries = 0;
  for ([[maybe_unused]] const auto &entry :
       std::filesystem::directory_iterator(folder_))
    ++entries;
  EXPECT_EQ(entries, 1);
}

TEST_F(Files, ErrorsNameThePath) {
  const auto error_of = [](auto body) {
    try {
      body();
    } catch (const std::runtime_error &error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of([&] { read_file(folder_ + "/no"); }),
            folder_ + "/no: no such file");
  EXPECT_EQ(error_of([&] { read_file(folder_); }), folder_ + ": no such file");
  write_file_atomically(folder_ + "/a", "12345");
  EXPECT_EQ(error_of([&] { read_file(folder_ + "/a", 4); }),
            folder_ + "/a: file too large: expected at most 4 bytes, got 5");
  EXPECT_THROW(write_file_atomically(folder_ + "/no/a", "x"), IoError);
  EXPECT_THROW(list_files(folder_ + "/no"), UserError);
}

TEST_F(Files, ListsRegularVisibleFilesSorted) {
  make_directories(folder_ + "/b/.hidden");
  for (const char *name : {"/b/2.csv", "/a.csv", "/.x.csv", "/_y.csv",
                           "/b/.hidden/z.csv", "/c.txt"})
    write_file_atomically(folder_ + name, "");
  std::filesystem::create_symlink(folder_ + "/a.csv", folder_ + "/link.csv");
  EXPECT_EQ(
      list_files(folder_, ".csv"),
      (std::vector<std::string>{folder_ + "/a.csv", folder_ + "/b/2.csv"}));
}

TEST_F(Files, LocksExclude) {
  {
    const FolderLock lock(folder_);
  }
  std::atomic<int> inside{0};
  parallel_for(3, 30, [&](int64_t) {
    const FolderLock lock(folder_);
    EXPECT_EQ(++inside, 1);
    --inside;
  });
}

TEST(Names, PlainNames) {
  for (std::string_view good : {"a", ".hidden", "..."})
    EXPECT_TRUE(is_plain_name(good));
  for (std::string_view bad :
       {std::string_view(""), std::string_view("."), std::string_view(".."),
        std::string_view("a/b"), std::string_view("a\0b", 3)})
    EXPECT_FALSE(is_plain_name(bad));
}

TEST(Errors, KindsAndChains) {
  EXPECT_THROW(US_REQUIRE(false, "x"), UserError);
  EXPECT_NO_THROW(US_REQUIRE(true, "x"));
  EXPECT_THROW(US_UNREACHABLE(), InternalError);
  try {
    US_CHECK(1 > 2, "why");
    FAIL();
  } catch (const InternalError &error) {
    EXPECT_NE(std::string(error.what()).find("why (1 > 2)"), std::string::npos);
  }
  try {
    try {
      throw UserError("inner");
    } catch (...) {
      std::throw_with_nested(UserError("while building"));
    }
  } catch (const std::exception &error) {
    EXPECT_EQ(full_message(error), "while building: inner");
  }
}

} // namespace
} // namespace uniscale::base
