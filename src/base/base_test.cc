#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/threads.h"
#include "base/time.h"

namespace uniscale::base {
namespace {

namespace fs = std::filesystem;

class ScratchTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "base-" + std::to_string(::getpid());
    make_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_;
};
using Files = ScratchTest;

TEST(StableHash, IsXxh3OverLengthPrefixedFields) {
  // XXH3-64 of 8-byte lengths and texts, from the reference xxhash library's Python wheel
  // (xxhash.xxh3_64_intdigest).
  EXPECT_EQ(stable_hash(0, "a"), hash_bytes(std::string("\1\0\0\0\0\0\0\0a", 9), 0));
  EXPECT_EQ(stable_hash(7, "ab", "c"), hash_bytes(std::string("\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c", 19), 7));
  EXPECT_NE(stable_hash(0, "ab", "c"), stable_hash(0, "a", "bc"));
  EXPECT_NE(stable_hash(0, "a"), stable_hash(1, "a"));
}

TEST(StableHash, LongFieldsTakeTheSamePath) {
  const std::string text(1000, 'x');
  std::string prefixed(8, '\0');
  prefixed[0] = static_cast<char>(1000 & 0xff);
  prefixed[1] = static_cast<char>(1000 >> 8);
  EXPECT_EQ(stable_hash(3, text), hash_bytes(prefixed + text, 3));
}

TEST(Random, IsAFunctionOfSeedKeyAndCounter) {
  RandomStream a(1, 2), b(1, 2);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(a.next_u64(), b.next_u64());
  b.set_counter(0);
  EXPECT_EQ(b.next_u64(), RandomStream(1, 2).next_u64());
  EXPECT_NE(RandomStream(1, 3).next_u64(), RandomStream(1, 2).next_u64());
}

TEST(Random, UniformAndNormalHaveTheirMoments) {
  RandomStream random(11, 5);
  double sum = 0, square = 0, normal = 0, normal_square = 0;
  constexpr int kDraws = 200'000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform(), z = random.normal();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    square += u * u;
    normal += z;
    normal_square += z * z;
  }
  // Five standard errors of each mean.
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * 0.2887 / std::sqrt(kDraws));
  EXPECT_NEAR(square / kDraws, 1.0 / 3, 5 * 0.298 / std::sqrt(kDraws));
  EXPECT_NEAR(normal / kDraws, 0.0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(normal_square / kDraws, 1.0, 5 * 1.4142 / std::sqrt(kDraws));
}

TEST(Random, BelowStaysBelow) {
  RandomStream random(1, 1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.below(7));
  EXPECT_THAT(seen, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
}

TEST(Durations, ReadAndWrite) {
  EXPECT_EQ(parse_duration("3d"), Duration{3 * kDayMs});
  EXPECT_EQ(parse_duration("250ms"), Duration{250});
  EXPECT_EQ(parse_duration("0"), Duration{0});
  for (const char* bad :
       {"", "3", "3 d", "-1d", "1.5h", "d", "3days", "99999999999999999999d", "9223372036854775807d"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(format_duration({90 * kMinuteMs}), "90m");
  EXPECT_EQ(format_duration({1}), "1ms");
}

TEST(Times, ReadIso) {
  const int64_t noon = 1772366400000;  // 2026-03-01T12:00:00Z
  EXPECT_EQ(parse_iso_time("2026-03-01T12:00:00Z")->ts_ms, noon);
  EXPECT_EQ(parse_iso_time("2026-03-01 12:00:00.123+00:00")->ts_ms, noon + 123);
  EXPECT_EQ(parse_iso_time("2026-03-01T13:30:00+01:30")->ts_ms, noon);
  EXPECT_EQ(parse_iso_time("2026-03-01T07:00:00-0500")->ts_ms, noon);
  EXPECT_TRUE(parse_iso_time("2026-03-01T12:00:00")->naive);
  EXPECT_FALSE(parse_iso_time("2026-03-01T12:00:00Z")->naive);
  EXPECT_EQ(parse_iso_time("1969-12-31T23:59:59.999Z")->ts_ms, -1);
  EXPECT_EQ(parse_iso_time("9999-12-31T23:59:59Z")->ts_ms, 253402300799000);
  for (const char* bad :
       {"", "2026-02-29", "2026-13-01", "2026-03-01T25:00:00Z", "2026-03-01T12:60:00Z", "2026-03-01X12:00:00",
        "2026-03-01T12:00:00+1", "2026-03-01T12:00:00.Z", "yesterday", "2026-03-01T24:00:01Z"}) {
    EXPECT_EQ(parse_iso_time(bad).has_value(), false) << bad;
  }
}

TEST(Times, DaysFloorBefore1970) {
  EXPECT_EQ(format_day(day_of(-1)), "1969-12-31");
  EXPECT_EQ(format_day(day_of(0)), "1970-01-01");
  EXPECT_EQ(format_iso_time(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(parse_day("2026-3-1"), std::nullopt);
}

TEST(ParallelFor, VisitsEveryIndexOnceWithAnyNumberOfThreads) {
  for (int threads : {1, 2, 7}) {
    std::vector<std::atomic<int>> visits(100);
    parallel_for(threads, 100, [&](int64_t i) { ++visits[static_cast<size_t>(i)]; });
    for (const auto& one : visits) EXPECT_EQ(one, 1);
  }
}

TEST(ParallelFor, RethrowsAndStops) {
  EXPECT_THROW(parallel_for(3, 1000,
                            [](int64_t i) {
                              if (i == 5) throw UserError("five");
                            }),
               UserError);
}

TEST(Errors, NestedMessagesReadAsOne) {
  try {
    try {
      throw UserError("inner");
    } catch (...) {
      std::throw_with_nested(UserError("outer"));
    }
  } catch (const std::exception& error) {
    EXPECT_EQ(full_message(error), "outer: inner");
  }
}

TEST_F(Files, MissingTooLargeAndRead) {
  write_file_atomically(folder_ + "/a", "hello");
  EXPECT_EQ(read_file(folder_ + "/a"), "hello");
  EXPECT_THAT([&] { read_file(folder_ + "/a", 4); }, testing::ThrowsMessage<UserError>(testing::HasSubstr(
                                                         "file too large: expected at most 4 bytes, got 5")));
  EXPECT_THAT([&] { read_file(folder_ + "/none"); },
              testing::ThrowsMessage<UserError>(testing::HasSubstr("no such file")));
}

TEST_F(Files, ListsPlainFilesInOrderWithoutLinksAndHiddenOnes) {
  for (const char* name : {"b.csv", "a.csv", ".hidden.csv", "_SUCCESS.csv", "c.txt"})
    std::ofstream(folder_ + "/" + name) << "x";
  make_directories(folder_ + "/sub");
  std::ofstream(folder_ + "/sub/d.csv") << "x";
  fs::create_symlink("a.csv", folder_ + "/link.csv");
  EXPECT_THAT(list_files(folder_, ".csv"),
              testing::ElementsAre(folder_ + "/a.csv", folder_ + "/b.csv", folder_ + "/sub/d.csv"));
}

TEST_F(Files, AKillLeavesTheOldFileOrTheNewOne) {
  const std::string path = folder_ + "/value";
  const std::string old_value(100'000, 'o'), new_value(100'000, 'n');
  write_file_atomically(path, old_value);
  for (int i = 0; i < 10; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) {
        write_file_atomically(path, new_value);
        write_file_atomically(path, old_value);
      }
    }
    ::usleep(static_cast<useconds_t>(2000 + 700 * i));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string got = read_file(path);
    EXPECT_TRUE(got == old_value || got == new_value);
  }
}

TEST(PlainNames, RefuseEverythingThatIsAPath) {
  for (const char* bad : {"", ".", "..", "a/b", "/"}) EXPECT_FALSE(is_plain_name(bad)) << bad;
  EXPECT_FALSE(is_plain_name(std::string_view("a\0b", 3)));
  EXPECT_TRUE(is_plain_name("dt=2026-03-01"));
}

TEST(StableHash, KnownValues) {
  EXPECT_EQ(hex64(hash_bytes("", 0)), "2d06800538d394c2");  // XXH3-64 of nothing
  EXPECT_EQ(content_hash(""),
            "99aa06d3014798d86001c324468d497f");  // XXH3-128 of nothing
  ContentHasher hasher;
  hasher.update("ab");
  hasher.update("c");
  EXPECT_EQ(hasher.hex_digest(), content_hash("abc"));
}

TEST(ParallelFor, TheSmallestFailureWins) {
  for (int threads : {1, 2, 5}) {
    std::vector<std::atomic<int>> hits(100);
    parallel_for(threads, 100, [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
    for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
    parallel_for(threads, 0, [](int64_t) { FAIL(); });
    try {
      parallel_for(threads, 100, [](int64_t i) {
        if (i >= 10) throw UserError("failed at " + std::to_string(i));
      });
      FAIL();
    } catch (const UserError& error) {
      EXPECT_EQ(std::string(error.what()), "failed at 10");
    }
  }
  EXPECT_EQ(resolve_num_threads(3), 3);
  EXPECT_GE(resolve_num_threads(0), 1);
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

TEST(Errors, KindsAndChains) {
  EXPECT_THROW(US_REQUIRE(false, "x"), UserError);
  EXPECT_NO_THROW(US_REQUIRE(true, "x"));
  EXPECT_THROW(US_UNREACHABLE(), InternalError);
  try {
    US_CHECK(1 > 2, "why");
    FAIL();
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("why (1 > 2)"), std::string::npos);
  }
  try {
    try {
      throw UserError("inner");
    } catch (...) {
      std::throw_with_nested(UserError("while building"));
    }
  } catch (const std::exception& error) {
    EXPECT_EQ(full_message(error), "while building: inner");
  }
}

}  // namespace
}  // namespace uniscale::base
