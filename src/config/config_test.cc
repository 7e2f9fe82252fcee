#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace uniscale::config {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Sample {
  double ratio = 2.0;
  int64_t cap = 100;
  base::Duration window{30 * base::kMinuteMs};
  std::string mode = "fast";
  std::vector<std::string> names = {"a"};
  StringMap types;
  bool on = true;
};

struct Item {
  std::string name;
  int64_t size = 1;
};

const Section<Sample>& sample_section() {
  static const auto s = Section<Sample>("sample", "A sample")
                            .field("ratio", &Sample::ratio, "a ratio", {.min = 0, .source = "a paper §1"})
                            .field("cap", &Sample::cap, "a cap", {.min = 1, .max = 1000, .unit = "rows"})
                            .field("window", &Sample::window, "a window")
                            .field("mode", &Sample::mode, "a mode", {.choices = {"fast", "slow"}})
                            .field("names", &Sample::names, "names")
                            .field("types", &Sample::types, "types")
                            .field("on", &Sample::on, "a switch");
  return s;
}

const ArraySection<Item>& item_section() {
  static const auto s = ArraySection<Item>("item", "Items")
                            .field("name", &Item::name, "its name", {.required = true})
                            .field("size", &Item::size, "its size", {.min = 0});
  return s;
}

struct Bound {
  Sample sample;
  std::vector<Item> items;
  std::vector<Binding> bindings() { return {{&sample_section(), &sample}, {&item_section(), &items}}; }
  void load(const std::string& text, const std::vector<std::string>& sets = {}) {
    load_text(text, "run.toml", sets, bindings());
  }
};

TEST(Config, ReadsEveryType) {
  Bound b;
  b.load(
      "[sample]\nratio = 3\ncap = 7\nwindow = \"2h\"\nmode = \"slow\"\nnames = [\"x\", \"y\"]\ntypes = { p = "
      "\"double\" }\non = false\n"
      "[[item]]\nname = \"first\"\n[[item]]\nname = \"second\"\nsize = 4\n");
  EXPECT_EQ(b.sample.ratio, 3.0);
  EXPECT_EQ(b.sample.cap, 7);
  EXPECT_EQ(b.sample.window.ms, 2 * base::kHourMs);
  EXPECT_EQ(b.sample.mode, "slow");
  EXPECT_THAT(b.sample.names, testing::ElementsAre("x", "y"));
  EXPECT_EQ(b.sample.types.at("p"), "double");
  EXPECT_FALSE(b.sample.on);
  ASSERT_EQ(b.items.size(), 2U);
  EXPECT_EQ(b.items[1].size, 4);
}

TEST(Config, ThreeMistakesGiveThreeMessagesWithPositions) {
  Bound b;
  try {
    b.load("[sample]\nwindow = \"3 day\"\nration = 1.0\n\ncap = 0\n");
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_STREQ(error.what(),
                 "run.toml:2:10: sample.window: expected a duration like \"3d\", got \"3 day\"\n"
                 "run.toml:3:10: sample.ration: unknown key; did you mean \"ratio\"?\n"
                 "run.toml:5:7: sample.cap: expected an integer in 1 … 1000, got 0");
  }
}

TEST(Config, UnknownSectionNamesTheNearest) {
  Bound b;
  EXPECT_THAT([&] { b.load("[sampel]\ncap = 1\n"); },
              ThrowsMessage<base::UserError>(HasSubstr("unknown section; did you mean \"sample\"?")));
}

TEST(Config, WrongKindsOfSection) {
  Bound b;
  EXPECT_THAT([&] { b.load("[item]\nname = \"x\"\n"); },
              ThrowsMessage<base::UserError>(HasSubstr("expected [[array of tables]], got a table")));
  EXPECT_THAT([&] { b.load("sample = 3\n"); },
              ThrowsMessage<base::UserError>(HasSubstr("expected a [table], got an integer")));
}

TEST(Config, SyntaxErrorHasItsPlace) {
  Bound b;
  EXPECT_THAT([&] { b.load("[sample]\ncap = = 3\n"); },
              ThrowsMessage<base::UserError>(HasSubstr("run.toml:2:")));
}

TEST(Config, MissingRequiredKey) {
  Bound b;
  EXPECT_THAT([&] { b.load("[[item]]\nsize = 1\n"); },
              ThrowsMessage<base::UserError>(HasSubstr("item[0].name: missing; expected a string")));
}

TEST(Config, ChoicesAreListed) {
  Bound b;
  EXPECT_THAT(
      [&] { b.load("[sample]\nmode = \"medium\"\n"); },
      ThrowsMessage<base::UserError>(HasSubstr("sample.mode: expected one of fast, slow, got \"medium\"")));
}

TEST(Config, OverridesWinAndMayBeBareWords) {
  Bound b;
  b.load("[sample]\ncap = 7\n",
         {"sample.cap=9", "sample.mode=slow", "sample.window=5m", "sample.names=[\"q\"]"});
  EXPECT_EQ(b.sample.cap, 9);
  EXPECT_EQ(b.sample.mode, "slow");
  EXPECT_EQ(b.sample.window.ms, 5 * base::kMinuteMs);
  EXPECT_THAT(b.sample.names, testing::ElementsAre("q"));
  EXPECT_THAT([&] { b.load("", {"sample.cap"}); },
              ThrowsMessage<base::UserError>(HasSubstr("--set sample.cap: expected key=value")));
  EXPECT_THAT([&] { b.load("", {"sample.kap=3"}); },
              ThrowsMessage<base::UserError>(HasSubstr("--set sample.kap: unknown key")));
}

TEST(Config, ABareDateIsItsText) {
  Bound b;
  b.load("[sample]\nmode = \"fast\"\nnames = [2026-03-01]\n");
  EXPECT_THAT(b.sample.names, testing::ElementsAre("2026-03-01"));
}

TEST(Config, ResolvedTextReadsBackAsItself) {
  Bound b;
  b.load(
      "[sample]\nratio = 0.1\nmode = \"slow\"\ntypes = { \"a.b\" = \"x \\\"y\\\"\" }\n[[item]]\nname = "
      "\"n\\n\\u0001\"\n");
  const std::string text = resolved_text(b.bindings());
  Bound again;
  again.load(text);
  EXPECT_EQ(resolved_text(again.bindings()), text);
  EXPECT_EQ(again.sample.types.at("a.b"), "x \"y\"");
  EXPECT_EQ(again.items[0].name, std::string("n\n\x01"));
}

TEST(Config, ExplainAndReference) {
  const std::vector<const AnySection*> sections = {&sample_section(), &item_section()};
  EXPECT_THAT(explain(sections, "sample.cap"),
              testing::AllOf(HasSubstr("default: 100"), HasSubstr("unit: rows"), HasSubstr("in 1 … 1000")));
  EXPECT_THAT(explain(sections, "item.size"), HasSubstr("its size"));
  EXPECT_THAT([&] { explain(sections, "sample.kap"); },
              ThrowsMessage<base::UserError>(HasSubstr("did you mean \"sample.cap\"?")));
  EXPECT_THAT(reference_page(sections),
              testing::AllOf(HasSubstr("## `[sample]`: A sample"), HasSubstr("## `[[item]]`: Items"),
                             HasSubstr("(a paper §1)")));
}

TEST(Config, NearestNameGivesUpOnStrangers) {
  EXPECT_EQ(nearest_name("unexposed_rato", {"unexposed_ratio", "cap"}), "unexposed_ratio");
  EXPECT_EQ(nearest_name("completely_different", {"cap", "ratio"}), std::nullopt);
}

TEST(Config, EveryTypeSaysWhatItWanted) {
  const auto error_of = [](const std::string& line, const std::vector<std::string>& sets = {}) {
    Bound b;
    try {
      b.load("[sample]\n" + line + "\n", sets);
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of("cap = 1.5"), "run.toml:2:7: sample.cap: expected an integer in 1 … 1000, got 1.5");
  EXPECT_EQ(error_of("on = 1"), "run.toml:2:6: sample.on: expected true or false, got 1");
  EXPECT_EQ(error_of("ratio = nan"), "run.toml:2:9: sample.ratio: expected a number at least 0, got nan");
  EXPECT_EQ(error_of("names = [1]"),
            "run.toml:2:9: sample.names: expected an array of strings, got an array");
  EXPECT_EQ(error_of("types = 3"), "run.toml:2:9: sample.types: expected a table of strings, got 3");
  EXPECT_EQ(error_of("window = 3"), "run.toml:2:10: sample.window: expected a duration like \"3d\", got 3");
  EXPECT_EQ(error_of("cap = 1", {"sample.cap.x=1"}), "--set sample.cap.x=1: sample.cap is not a table");
}

TEST(Config, OverridesReachElementsOfArrays) {
  Bound b;
  const std::string text = "[[item]]\nname = \"first\"\n[[item]]\nname = \"second\"\n";
  b.load(text, {"item[1].size=7", "item[0].name=renamed", "item[2].name=third", "item[2].size=3"});
  ASSERT_EQ(b.items.size(), 3U);
  EXPECT_EQ(b.items[0].name, "renamed");
  EXPECT_EQ(b.items[1].name, "second");
  EXPECT_EQ(b.items[1].size, 7);
  EXPECT_EQ(b.items[2].name, "third");
  EXPECT_EQ(b.items[2].size, 3);
  b.load("", {"item[0].name=alone"});
  ASSERT_EQ(b.items.size(), 1U);
  EXPECT_EQ(b.items[0].name, "alone");
}

TEST(Config, OverridesOfArraysSayWhatTheyMiss) {
  const auto error_of = [&](const std::string& set) {
    Bound b;
    try {
      b.load("[[item]]\nname = \"first\"\n[sample]\ncap = 1\n", {set});
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of("item[2].size=1"),
            "--set item[2].size=1: item has 1 elements, so expected an index up to 1");
  EXPECT_EQ(error_of("item.size=1"), "--set item.size=1: item is not a table");
  EXPECT_EQ(error_of("sample[0].cap=1"), "--set sample[0].cap=1: sample is not an array");
  EXPECT_EQ(error_of("item[1].sise=1"),
            "--set item[1].sise: unknown key; did you mean \"size\"?\n"
            "--set item[1].name: missing; expected a string");
  for (const char* set : {"item[x].size=1", "item[0.size=1", "item[-1].size=1", "[0].size=1", "item..size=1",
                          "item[0]x.size=1", "item.=1"})
    EXPECT_THAT(error_of(set), HasSubstr(": expected a key like a.b or a[0].b, got \"")) << set;
}

TEST(Config, WithoutAFileDefaultsStand) {
  Bound b;
  load("", {}, b.bindings());
  EXPECT_EQ(b.sample.cap, 100);
  EXPECT_TRUE(b.items.empty());
  EXPECT_THAT([&] { load("no-such-folder/run.toml", {}, b.bindings()); },
              ThrowsMessage<base::UserError>("no-such-folder/run.toml: no such file"));
}

}  // namespace
}  // namespace uniscale::config
