#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "text/normalise.h"
#include "text/similarity.h"

namespace uniscale::text {
namespace {

TEST(Normalise, AsciiIsLoweredTrimmedAndCollapsed) {
  EXPECT_EQ(normalise(" \t Red\n\r SHOES-42  "), "red shoes-42");
  EXPECT_EQ(normalise(""), "");
  EXPECT_EQ(normalise(" \v\f "), "");
  EXPECT_EQ(normalise(std::string_view("A\0B", 3)), std::string_view("a\0b", 3));
}

TEST(Normalise, ComposesAndLowers) {
  EXPECT_EQ(normalise("CAFE\u0301"), "caf\u00e9");
  EXPECT_EQ(normalise("\u00c4\u00d6\u00dc"), "\u00e4\u00f6\u00fc");
  EXPECT_EQ(normalise("\u03a3\u0391"), "\u03c3\u03b1");
  EXPECT_EQ(normalise("\u00df"),
            "\u00df");                       // simple lower-case only: no folding to ss
  EXPECT_EQ(normalise("\ufb01"), "\ufb01");  // NFC, not NFKC
}

TEST(Normalise, UnicodeWhiteSpace) {
  EXPECT_EQ(normalise("\u3000A\u00a0\u2003B\u2028"), "a b");
  EXPECT_EQ(normalise("a\u200bb"),
            "a\u200bb");  // zero-width space has no White_Space
}

TEST(Normalise, EachByteThatIsNoUtf8BecomesOneReplacement) {
  EXPECT_EQ(normalise("a\xff\xfe"), "a\ufffd\ufffd");
  EXPECT_EQ(normalise("\xe2\x82"), "\ufffd\ufffd");            // cut short
  EXPECT_EQ(normalise("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // surrogate
  EXPECT_EQ(normalise("\xc0\xaf"), "\ufffd\ufffd");            // overlong
  EXPECT_EQ(normalise("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
}

TEST(Normalise, IsIdempotent) {
  for (const char* text :
       {"  \u00c9COLE  d'e\u0301te\u0301 ", "\xff X", "\u0130STANBUL", "\u1e9e", "a\u0323\u0307"}) {
    const std::string once = normalise(text);
    EXPECT_EQ(normalise(once), once) << text;
    EXPECT_TRUE(is_valid_utf8(once));
  }
}

TEST(Utf8, Validity) {
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8("abc \u00e9 \U0001f600"));
  EXPECT_FALSE(is_valid_utf8("\x80"));
  EXPECT_FALSE(is_valid_utf8("ok \xed\xa0\x80"));
  EXPECT_EQ(code_points("a\u00e9\U0001f600"), (std::vector<char32_t>{'a', 0xe9, 0x1f600}));
}

TEST(Similarity, CountsByHand) {
  // |ab| has two 3-grams, |ab and ab|; |aaaa| has |aa, aaa twice, aa|.
  EXPECT_EQ(ngram_vector("AB ", 0).squared_norm, 2);
  EXPECT_EQ(ngram_vector("aaaa", 0).squared_norm, 1 + 4 + 1);
  EXPECT_EQ(dot(ngram_vector("aaaa", 0), ngram_vector("aaa", 0)), 1 + 2 + 1);
  EXPECT_DOUBLE_EQ(cosine(ngram_vector("aaaa", 0), ngram_vector("aaa", 0)), 4 / std::sqrt(18.0));
  EXPECT_EQ(ngram_vector("x", 0).counts.size(), 1U);
}

TEST(Similarity, EmptyIsSimilarToNothing) {
  const NgramVector empty = ngram_vector("  ", 0), some = ngram_vector("abc", 0);
  EXPECT_TRUE(empty.counts.empty());
  EXPECT_EQ(cosine(empty, some), 0);
  EXPECT_EQ(cosine(empty, empty), 0);
  EXPECT_FALSE(at_least(empty, empty, 0.0));
  EXPECT_DOUBLE_EQ(cosine(some, some), 1);
}

TEST(Similarity, ThresholdIsExact) {
  // dot 1, norms 2 and 2: cosine exactly 0.5.
  const NgramVector a{{{1, 1}, {2, 1}}, 2}, b{{{2, 1}, {3, 1}}, 2};
  EXPECT_TRUE(at_least(a, b, 0.5));
  EXPECT_FALSE(at_least(a, b, 0.5000001));
}

// A threshold is what was written: 0.2 is a fifth, not the double nearest to it.
TEST(Similarity, ThresholdsAreDecimals) {
  // |lemon| and |melon| have five 3-grams each and share on|: 1/√(5·5).
  EXPECT_EQ(dot(ngram_vector("lemon", 0), ngram_vector("melon", 0)), 1);
  EXPECT_TRUE(at_least(ngram_vector("lemon", 0), ngram_vector("melon", 0), 0.2));
  EXPECT_FALSE(at_least(ngram_vector("lemon", 0), ngram_vector("melon", 0), 0.200000001));
  EXPECT_TRUE(at_least(ngram_vector("lemon", 0), ngram_vector("melon", 0), 0.199999999));
  for (int tenths = 1; tenths <= 10; ++tenths) {
    // tenths/√(10·10), then with numbers near the largest that texts reach.
    EXPECT_TRUE(CosineThreshold(tenths / 10.0).is_reached(tenths, 10, 10)) << tenths;
    EXPECT_FALSE(CosineThreshold(tenths / 10.0).is_reached(tenths * 10 - 1, 100, 100)) << tenths;
    const int64_t large = int64_t{1} << 46;
    EXPECT_TRUE(CosineThreshold(tenths / 10.0).is_reached(tenths * large, 10 * large, 10 * large)) << tenths;
    EXPECT_FALSE(CosineThreshold(tenths / 10.0).is_reached(tenths * large - 1, 10 * large, 10 * large))
        << tenths;
  }
  // 0 is reached by all, also by those that share nothing.
  EXPECT_TRUE(CosineThreshold(0).is_reached(0, 5, 5));
  EXPECT_FALSE(CosineThreshold(1e-9).is_reached(0, 5, 5));
}

TEST(Similarity, SeedChangesDimensionsNotCosineOfEqualTexts) {
  EXPECT_NE(ngram_vector("shoes", 0).counts, ngram_vector("shoes", 1).counts);
  EXPECT_EQ(ngram_vector("Red  Shoes", 7).counts, ngram_vector("red shoes", 7).counts);
  for (const NgramCount& one : ngram_vector("a long text with many grams", 3).counts)
    EXPECT_LT(one.dimension, 1U << kNgramBits);
}

}  // namespace
}  // namespace uniscale::text
