#include "es3/query_index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "es3/detail/test_logs.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

constexpr uint64_t kSeed = 7;

// Queries and titles of a small vocabulary, so that near neighbours are many.
std::string words(base::RandomStream& random, int count) {
  static constexpr std::array kWords = {"red",    "blue",    "shoe",   "shoes",   "boot",  "winter",
                                        "summer", "coat",    "rain",   "jacket",  "kids",  "men",
                                        "women",  "leather", "light",  "running", "trail", "wool",
                                        "hat",    "scarf",   "cotton", "slim",    "wide",  "black"};
  std::string out;
  for (int i = 0; i < count; ++i) {
    if (i > 0) out += ' ';
    out += kWords[random.below(kWords.size())];
    if (random.bernoulli(0.3)) out += fmt::format("{}", random.below(100));
  }
  return out;
}

struct Bank {
  std::set<std::string> texts;
  std::vector<std::string_view> queries;
};
Bank make_bank(uint64_t seed, size_t size) {
  base::RandomStream random(seed, 1);
  Bank bank;
  while (bank.texts.size() < size) bank.texts.insert(words(random, 1 + static_cast<int>(random.below(3))));
  bank.queries.assign(bank.texts.begin(), bank.texts.end());
  return bank;
}

// Every query looked at.
std::optional<QueryIndex::Found> by_hand(const Bank& bank, const text::NgramVector& title, double floor) {
  std::optional<QueryIndex::Found> best;
  int64_t best_dot = 0, best_norm = 1;
  for (size_t i = 0; i < bank.queries.size(); ++i) {
    const text::NgramVector query = text::ngram_vector(bank.queries[i], kSeed);
    const int64_t dot = text::dot(title, query);
    if (!text::at_least(title, query, floor)) continue;
    if (!best || dot * dot * best_norm > best_dot * best_dot * query.squared_norm) {
      best = QueryIndex::Found{static_cast<int32_t>(i), text::cosine(title, query)};
      best_dot = dot;
      best_norm = query.squared_norm;
    }
  }
  return best;
}

TEST(Es3QueryIndex, ExactEqualsLookingAtEveryQuery) {
  const Bank bank = make_bank(1, 400);
  const auto index = make_exact_query_index(bank.queries, kSeed);
  base::RandomStream random(2, 2);
  QueryIndex::Scratch scratch;
  int num_found = 0;
  for (int i = 0; i < 300; ++i) {
    const text::NgramVector title = text::ngram_vector(words(random, 4), kSeed);
    const double floor = static_cast<double>(random.below(8)) / 10;
    const auto expected = by_hand(bank, title, floor);
    const auto got = index->nearest(title, floor, scratch);
    ASSERT_EQ(expected.has_value(), got.has_value()) << i;
    if (!got) continue;
    ++num_found;
    ASSERT_EQ(expected->query, got->query) << i;
    ASSERT_DOUBLE_EQ(expected->similarity, got->similarity);
  }
  EXPECT_GT(num_found, 100);
  EXPECT_LT(num_found, 300);
}

TEST(Es3QueryIndex, TiesGoToTheSmallerBytes) {
  const std::vector<std::string_view> bank = {"ab", "b", "ba"};
  const auto index = make_exact_query_index(bank, kSeed);
  QueryIndex::Scratch scratch;
  // "ab ba" shares one boundary gram with "ab" and one with "ba".
  const auto found = index->nearest(text::ngram_vector("ab ba", kSeed), 0, scratch);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->query, 0);
  // A floor of 0 lets in what shares nothing (docs/decisions/es3.md); the least above it does not.
  const auto unlike = index->nearest(text::ngram_vector("zzzz", kSeed), 0, scratch);
  ASSERT_TRUE(unlike.has_value());
  EXPECT_EQ(unlike->query, 0);
  EXPECT_EQ(unlike->similarity, 0);
  EXPECT_FALSE(index->nearest(text::ngram_vector("zzzz", kSeed), 1e-9, scratch).has_value());
  EXPECT_FALSE(index->nearest(text::ngram_vector("", kSeed), 0, scratch).has_value());
}

TEST(Es3QueryIndex, ApproximateRarelyMissesAndAlwaysMissesTheSame) {
  const Bank bank = make_bank(3, 2000);
  const auto exact = make_exact_query_index(bank.queries, kSeed);
  const auto approximate = make_approximate_query_index(bank.queries, kSeed);
  const auto again = make_approximate_query_index(bank.queries, kSeed);
  base::RandomStream random(4, 4);
  QueryIndex::Scratch scratch;
  int num_found = 0, num_equal = 0;
  for (int i = 0; i < 500; ++i) {
    const text::NgramVector title = text::ngram_vector(words(random, 4), kSeed);
    const auto expected = exact->nearest(title, 0.35, scratch);
    const auto got = approximate->nearest(title, 0.35, scratch);
    const auto second = again->nearest(title, 0.35, scratch);
    ASSERT_EQ(got.has_value(), second.has_value());
    if (got) {
      ASSERT_EQ(got->query, second->query);
    }
    if (!expected) {
      // What is found at all is above the floor by the exact cosine.
      ASSERT_FALSE(got.has_value());
      continue;
    }
    ++num_found;
    num_equal += got && got->query == expected->query;
  }
  ASSERT_GT(num_found, 200);
  EXPECT_GE(num_equal, num_found * 9 / 10) << num_found;
}

TEST(Es3QueryIndex, AnEmptyBankAnswersNothing) {
  QueryIndex::Scratch scratch;
  const text::NgramVector title = text::ngram_vector("coat", kSeed);
  EXPECT_FALSE(make_exact_query_index({}, kSeed)->nearest(title, 0, scratch).has_value());
  EXPECT_FALSE(make_approximate_query_index({}, kSeed)->nearest(title, 0, scratch).has_value());
}

class Es3QueryEmbeddings : public testing::Test {
 protected:
  std::string write(const std::vector<const char*>& queries, std::vector<int32_t> offsets,
                    std::vector<float> values) {
    table::StringVector texts;
    for (const char* query : queries) texts.push(query);
    table::Table rows;
    rows.add("query", table::make_strings(std::move(texts)));
    rows.add("embedding", table::make_list(std::move(offsets), table::make_floats(std::move(values))));
    const std::string path = folder_.path("queries.parquet");
    table::ParquetWriter writer(path, {});
    writer.write(rows);
    writer.close();
    return path;
  }
  TemporaryFolder folder_;
  const std::vector<std::string_view> bank_ = {"boot", "coat", "hat"};
};

TEST_F(Es3QueryEmbeddings, TheLargestCosineAboveTheFloor) {
  const QueryEmbeddings embeddings(
      write({"hat", "coat", "unknown", "boot"}, {0, 2, 4, 6, 8}, {3, 0, 0, 2, 5, 5, 1, 1}), bank_);
  EXPECT_TRUE(embeddings.answers(2));
  EXPECT_FALSE(embeddings.answers(3));
  const std::vector<float> item = {1, 0.1F};
  const auto found = embeddings.nearest(item, 0.5);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(bank_[static_cast<size_t>(found->query)], "hat");
  EXPECT_NEAR(found->similarity, 1 / std::sqrt(1.01), 1e-6);
  EXPECT_FALSE(embeddings.nearest(std::vector<float>{-1, -1}, 0.1).has_value());
  EXPECT_FALSE(embeddings.nearest(std::vector<float>{0, 0}, 0).has_value());
}

TEST_F(Es3QueryEmbeddings, WithoutAFileThereAreNone) {
  const QueryEmbeddings embeddings("", bank_);
  EXPECT_FALSE(embeddings.answers(0));
}

TEST_F(Es3QueryEmbeddings, LengthsThatDifferAreNamed) {
  const std::string path = write({"hat", "coat"}, {0, 2, 5}, {1, 2, 3, 4, 5});
  try {
    const QueryEmbeddings embeddings(path, bank_);
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_EQ(std::string(error.what()),
              path + ": embedding: expected 2 values as in the first row, got 3 for query \"coat\"");
  }
}

}  // namespace
}  // namespace uniscale::es3
