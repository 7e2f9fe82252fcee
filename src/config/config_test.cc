#include "config/config.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace uniscale::config {
namespace {

struct Demo {
  int64_t count = 3;
  double rate = 0.5;
  std::string mode = "fast";
  base::Duration window{base::kDayMs};
  bool on = true;
  std::vector<std::string> names = {"a", "b"};
  std::vector<double> boundaries;
  StringMap columns;
  DoubleMap weights;
  bool operator==(const Demo &) const = default;
};
struct Part {
  std::string name;
  int64_t size = 1;
  bool operator==(const Part &) const = default;
};

const Section<Demo> &demo_section() {
  static const auto section =
      Section<Demo>("demo", "A demo")
          .field("count", &Demo::count, "how many",
                 {.min = 1, .max = 10, .unit = "rows"})
          .field("rate", &Demo::rate, "how fast", {.min = 0})
          .field("mode", &Demo::mode, "which way",
                 {.choices = {"fast", "exact"}})
          .field("window", &Demo::window, "how long", {.source = "es3.md §3"})
          .field("on", &Demo::on, "whether")
          .field("names", &Demo::names, "who")
          .field("boundaries", &Demo::boundaries, "where")
          .field("columns", &Demo::columns, "what")
          .field("weights", &Demo::weights, "how much");
  return section;
}
const ArraySection<Part> &part_section() {
  static const auto section =
      ArraySection<Part>("part", "Parts")
          .field("name", &Part::name, "its name", {.required = true})
          .field("size", &Part::size, "its size", {.max = 9});
  return section;
}

struct All {
  Demo demo;
  std::vector<Part> parts;
  std::vector<Binding> bindings() {
    return {{&demo_section(), &demo}, {&part_section(), &parts}};
  }
};

All read(const std::string &text,
         const std::vector<std::string> &overrides = {}) {
  All all;
  load_text(text, "run.toml", overrides, all.bindings());
  return all;
}

std::string error_of(const std::string &text,
                     const std::vector<std::string> &overrides = {}) {
  try {
    read(text, overrides);
  } catch (const base::UserError &error) {
    return error.what();
  }
  return "no error";
}

TEST(Config, ThreeMistakesGiveThreeMessagesWithPlaces) {
  EXPECT_EQ(error_of("[demo]\ncuont = 4\n  rate = -1\nwindow = \"3 day\"\n"),
            "run.toml:2:9: demo.cuont: unknown key; did you mean \"count\"?\n"
            "run.toml:3:10: demo.rate: expected a number at least 0, got -1\n"
            "run.toml:4:10: demo.window: expected a duration like \"3d\", got "
            "\"3 day\"");
}

TEST(Config, EveryTypeComplains) {
  EXPECT_EQ(error_of("[demo]\ncount = 11"),
            "run.toml:2:9: demo.count: expected an integer in 1 … 10, got 11");
  EXPECT_EQ(error_of("[demo]\ncount = 1.5"),
            "run.toml:2:9: demo.count: expected an integer in 1 … 10, got 1.5");
  EXPECT_EQ(
      error_of("[demo]\nmode = \"slow\""),
      "run.toml:2:8: demo.mode: expected one of fast, exact, got \"slow\"");
  EXPECT_EQ(error_of("[demo]\non = 1"),
            "run.toml:2:6: demo.on: expected true or false, got 1");
  EXPECT_EQ(error_of("[demo]\nrate = nan"),
            "run.toml:2:8: demo.rate: expected a number at least 0, got nan");
  EXPECT_EQ(
      error_of("[demo]\nnames = [1]"),
      "run.toml:2:9: demo.names: expected an array of strings, got an array");
  EXPECT_EQ(error_of("[demo]\ncolumns = 3"),
            "run.toml:2:11: demo.columns: expected a table of strings, got 3");
  EXPECT_EQ(
      error_of("[demo]\nwindow = 3"),
      "run.toml:2:10: demo.window: expected a duration like \"3d\", got 3");
}

TEST(Config, SectionsThatAreNot) {
  EXPECT_EQ(error_of("[dmeo]\n"),
            "run.toml:1:1: dmeo: unknown section; did you mean \"demo\"?");
  EXPECT_EQ(error_of("[part]\nname = \"x\"\n"),
            "run.toml:1:1: part: expected [[array of tables]], got a table");
  EXPECT_EQ(error_of("demo = 3\n"),
            "run.toml:1:8: demo: expected a [table], got an integer");
  EXPECT_EQ(error_of("[[part]]\nsize = 3\n"),
            "run.toml:1:1: part[0].name: missing; expected a string");
}

TEST(Config, BrokenTomlNamesThePlace) {
  EXPECT_TRUE(error_of("[demo]\ncount = = 3\n")
                  .starts_with("run.toml:2:9: not valid TOML: "));
}

TEST(Config, SetOverridesTheFile) {
  const All all = read("[demo]\ncount = 4\nmode = \"exact\"\n",
                       {"demo.count=7", "demo.window=2h",
                        "demo.columns.price=double", "demo.names=[\"z\"]"});
  EXPECT_EQ(all.demo.count, 7);
  EXPECT_EQ(all.demo.mode, "exact");
  EXPECT_EQ(all.demo.window.ms, 2 * base::kHourMs);
  EXPECT_EQ(all.demo.columns.at("price"), "double");
  EXPECT_EQ(all.demo.names, std::vector<std::string>{"z"});
  EXPECT_EQ(error_of("", {"demo.count=0"}),
            "--set demo.count: expected an integer in 1 … 10, got 0");
  EXPECT_EQ(error_of("", {"demo.cuont=1"}),
            "--set demo.cuont: unknown key; did you mean \"count\"?");
  EXPECT_EQ(error_of("", {"count"}), "--set count: expected key=value");
  EXPECT_EQ(error_of("[demo]\ncount = 1", {"demo.count.x=1"}),
            "--set demo.count.x=1: demo.count is not a table");
}

TEST(Config, ResolvedTextReadsBackTheSame) {
  All all =
      read("[demo]\nrate = 1e-300\nnames = [\"q\\\"uo\\\\te\", "
           "\"tab\\t\"]\nboundaries = [1, -2.5]\n"
           "columns = { \"a b\" = \"x\" }\nweights = { click = 1 }\nwindow = "
           "\"90m\"\n"
           "[[part]]\nname = \"one\"\n[[part]]\nname = \"two\"\nsize = 9\n");
  const std::string text = resolved_text(all.bindings());
  All again = read(text);
  EXPECT_EQ(again.demo, all.demo);
  EXPECT_EQ(again.parts, all.parts);
  EXPECT_EQ(resolved_text(again.bindings()), text);
  EXPECT_EQ(all.parts.size(), 2U);
  EXPECT_EQ(all.demo.boundaries, (std::vector<double>{1, -2.5}));
}

TEST(Config, DefaultsStandWithoutAFile) {
  All all;
  load("", {}, all.bindings());
  EXPECT_EQ(all.demo, Demo{});
  try {
    load("/nowhere/run.toml", {}, all.bindings());
    FAIL();
  } catch (const base::UserError &error) {
    EXPECT_EQ(std::string(error.what()), "/nowhere/run.toml: no such file");
  }
}

TEST(Config, ExplainAndReference) {
  const std::vector<const AnySection *> sections = {&demo_section(),
                                                    &part_section()};
  EXPECT_EQ(explain(sections, "demo.window"),
            "demo.window\n  how long\n  type: a duration like \"3d\"\n  "
            "default: \"1d\"\n  source: es3.md §3\n");
  EXPECT_EQ(explain(sections, "demo.count"),
            "demo.count\n  how many\n  type: an integer in 1 … 10\n  default: "
            "3\n  unit: rows\n");
  EXPECT_EQ(explain(sections, "part.name"), explain(sections, "part[].name"));
  try {
    explain(sections, "demo.windw");
    FAIL();
  } catch (const base::UserError &error) {
    EXPECT_EQ(std::string(error.what()),
              "config: no key \"demo.windw\"; did you mean \"demo.window\"?");
  }
  const std::string page = reference_page(sections);
  EXPECT_NE(page.find("## `[demo]`: A demo"), std::string::npos);
  EXPECT_NE(page.find("## `[[part]]`: Parts"), std::string::npos);
  EXPECT_NE(page.find("how many [rows]"), std::string::npos);
  EXPECT_NE(page.find("(es3.md §3)"), std::string::npos);
}

TEST(Config, NearestNameKeepsAway) {
  EXPECT_EQ(nearest_name("windw", {"window", "mode"}), "window");
  EXPECT_EQ(nearest_name("zzzzzz", {"window", "mode"}), std::nullopt);
  EXPECT_EQ(nearest_name("x", {}), std::nullopt);
}

} // namespace
} // namespace uniscale::config
