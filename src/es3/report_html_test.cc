#include "es3/report_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>

#include "es3/detail/test_report.h"
#include "es3/report_chart.h"

namespace uniscale::es3 {
namespace {

using testing::HasSubstr;
using testing::Not;

// Checks that every element is closed in order; returns what is wrong, or "".
std::string nesting_error(const std::string& page) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z0-9]+)([^<>]*)>");
  for (std::sregex_iterator it(page.begin(), page.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2], rest = (*it)[3];
    if (name == "meta" || rest.ends_with("/")) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "closed out of order: " + name;
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "left open: " + open.back();
}

TEST(Es3ReportHtml, ThePageNeedsNothingButItself) {
  const std::string page = to_html(full_report());
  for (const char* word :
       {"<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "onload"})
    EXPECT_THAT(page, Not(HasSubstr(word))) << word;
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  // The one address is the name of the SVG language, which nobody fetches.
  const std::regex address("https?://[^\"]*");
  for (std::sregex_iterator it(page.begin(), page.end(), address), end; it != end; ++it)
    EXPECT_EQ(it->str(), "http://www.w3.org/2000/svg");
  EXPECT_EQ(nesting_error(page), "");
}

TEST(Es3ReportHtml, NamesOfTheLogAreEscaped) {
  const std::string page = to_html(full_report());
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
  EXPECT_THAT(page, Not(HasSubstr("\xe2\x80\xae")));  // turns the direction of what follows
  EXPECT_THAT(page, HasSubstr("# &lt;b&gt;"));
  const std::string text = to_text(full_report());
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\xe2\x80\xae")));
}

TEST(Es3ReportHtml, EverySectionHasItsNumbers) {
  const std::string page = to_html(full_report());
  EXPECT_THAT(page, HasSubstr("Samples of 2026-03-01 <span class=\"state\">provisional</span>"));
  EXPECT_THAT(page, HasSubstr("provisional: 2026-03-02 … 2026-03-03 not ingested yet"));
  EXPECT_THAT(page, HasSubstr("the look-back lacks 2026-02-26"));
  EXPECT_THAT(page,
              HasSubstr("<td>+ cross-domain</td><td>140</td><td>3,350</td><td>3.35×</td><td>130</td><td>"
                        "2.17×</td>"));
  EXPECT_THAT(page,
              HasSubstr("<td>click</td><td>feed</td><td>0</td><td>0</td><td>18</td><td>0</td><td>40</td>"));
  EXPECT_THAT(page, HasSubstr(">window 1d</text>"));
  EXPECT_THAT(page, HasSubstr(">window 3d</text>"));
  EXPECT_THAT(page, HasSubstr("click rate p<sub>0</sub> of the day before: 5.0 %"));
  EXPECT_THAT(page, HasSubstr("At most 19 negatives"));
  EXPECT_THAT(page, HasSubstr("<td>2 co-clicked</td><td>12</td><td>15</td><td>4</td><td>75.0 % (3)</td>"));
  EXPECT_THAT(page, HasSubstr("Events of the day, counted on their own: 223; the lines add up."));
  EXPECT_THAT(page, HasSubstr("26 of 100 events (26.0 %)"));
  EXPECT_THAT(page, HasSubstr("List-wise is 50.0 % of it sorted, 25.0 % of it shuffled."));
}

TEST(Es3ReportHtml, EveryChartHasItsTable) {
  const std::string page = to_html(full_report());
  // Delay: from the first bin with a positive to the last.
  EXPECT_THAT(
      page,
      HasSubstr("<th>delay</th><th>click<small>native</small></th><th>click<small>attributed</small></th>"
                "<th>click<small>cross-domain</small></th><th>purchase<small>attributed</small></th>"));
  EXPECT_THAT(page, HasSubstr("<tr><td>&lt;10s</td><td>40</td><td>0</td><td>0</td><td>0</td></tr>"));
  EXPECT_THAT(page, HasSubstr("<tr><td>&lt;1m</td><td>0</td><td>0</td><td>40</td><td>0</td></tr>"));
  EXPECT_THAT(page, HasSubstr("<tr><td>&lt;12h</td><td>0</td><td>0</td><td>0</td><td>0</td></tr>"));
  EXPECT_THAT(page, HasSubstr("<tr><td>&lt;72h</td><td>0</td><td>0</td><td>0</td><td>3</td></tr>"));
  EXPECT_THAT(page, Not(HasSubstr("<td>&lt;0</td>")));
  EXPECT_THAT(page, Not(HasSubstr("<td>&lt;7d</td>")));
  // Orphans: by action, and how many of them nothing took in.
  EXPECT_THAT(page, HasSubstr("<td>not_exposed</td><td>26</td><td>0</td><td>0</td><td>26</td><td>5</td>"));
  // Storage: bytes a sample, of 3,350.
  EXPECT_THAT(page, HasSubstr("<td>list-wise</td><td>1,500,000</td><td>447.8</td><td>100.0 %</td>"));
  EXPECT_THAT(page, HasSubstr("<td>flat, shuffled</td><td>6,000,000</td><td>1791.0</td><td>25.0 %</td>"));
}

TEST(Es3ReportHtml, TheVerdictStandsAtTheTop) {
  DayReport report = full_report();
  report.gates = {{"orphan_share", GateState::Failed, "at most 0.05", "0.2600 (26 of 100 events)"},
                  {"click_rate", GateState::Passed, "at least 0.01", "0.0600 (60 of 1000 exposed samples)"}};
  report.is_kept_aside = true;
  std::string page = to_html(report);
  const size_t verdict = page.find("<strong>FAILED, not published: orphan_share</strong>");
  ASSERT_NE(verdict, std::string::npos);
  EXPECT_LT(verdict, page.find("<h2>"));
  EXPECT_THAT(page, HasSubstr("orphan_share: expected at most 0.05, got 0.2600 (26 of 100 events)"));
  report.is_kept_aside = false;
  EXPECT_THAT(to_html(report), HasSubstr("FAILED, published all the same: orphan_share"));
  report.gates.erase(report.gates.begin());
  EXPECT_THAT(to_html(report), HasSubstr("<strong>gates: 1 passed</strong>"));
}

// Several clicks in one list are not clicks in every list.
TEST(Es3ReportHtml, ListsWithoutAClickAreMissedByListsNotByClicks) {
  const char* warning = "search requests have a click: lists without one seem not to be logged";
  DayReport report = full_report();
  report.counts.ladder[0].num_requests = 1000;
  report.counts.ladder[0].num_positives[0] = 1500;
  report.counts.num_clicked_searches = 600;
  EXPECT_THAT(to_html(report), Not(HasSubstr(warning)));
  report.counts.num_clicked_searches = 960;
  EXPECT_THAT(to_html(report), HasSubstr("960 of 1000 " + std::string(warning)));
}

TEST(Es3ReportHtml, AnEmptyDayIsAPageToo) {
  DayReport report;
  report.counts.ladder = {{"exposed", 0, 0, {}}};
  const std::string page = to_html(report);
  EXPECT_THAT(page, HasSubstr("no search request on this day"));
  EXPECT_THAT(page, HasSubstr("No label is 1 on this day."));
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
  EXPECT_EQ(nesting_error(page), "");
}

TEST(Es3ReportHtml, ManyDomainsStayAPage) {
  DayReport report = full_report();
  for (int i = 0; i < 5000; ++i)
    report.counts.positives
        .cells[{schema::Task::Cart, schema::LabelSource::Cross, "domain " + std::to_string(i)}][0] = 1;
  const std::string page = to_html(report);
  EXPECT_LT(page.size(), 150'000U);
  EXPECT_THAT(page, HasSubstr("more lines are in the JSON"));
}

TEST(Es3ReportChart, BarsAreAsLongAsTheirValues) {
  const std::string chart = bar_chart("a", {{"x", "10", {{10, 0}}}, {"y", "5", {{2, 1}, {3, 2}}}});
  EXPECT_THAT(chart, HasSubstr("x=\"0.0\" y=\"17.0\" width=\"360.0\" height=\"11\" class=\"k0\""));
  EXPECT_THAT(chart, HasSubstr("x=\"0.0\" y=\"51.0\" width=\"72.0\" height=\"11\" class=\"k1\""));
  EXPECT_THAT(chart, HasSubstr("x=\"72.0\" y=\"51.0\" width=\"108.0\" height=\"11\" class=\"k2\""));
}

TEST(Es3ReportChart, ADelayCurveRisesToOneAndMarksTheWindow) {
  DelayLine line{"all", 0, {}};
  line.bins[1] = 3;
  line.bins[9] = 1;
  const std::string chart = delay_chart("a", {line, {"none", 1, {}}}, base::Duration{24 * base::kHourMs});
  // 15 bins of 21.2 between x = 34 and 352; y = 156 is no positive, 16 all of them, 51 three quarters.
  EXPECT_THAT(chart, HasSubstr("points=\"34.0,156.0 55.2,156.0 76.4,51.0"));
  EXPECT_THAT(chart, HasSubstr(" 224.8,51.0 246.0,16.0 "));
  EXPECT_THAT(chart, HasSubstr(" 352.0,16.0\""));
  // 24 h is the bound of bin 10: x = 34 + 11 × 21.2.
  EXPECT_THAT(chart, HasSubstr("<line x1=\"267.2\" x2=\"267.2\""));
  EXPECT_THAT(chart, Not(HasSubstr("none")));
  EXPECT_EQ(delay_chart("a", {{"none", 1, {}}}, base::Duration{0}), "");
}

TEST(Es3ReportText, NamesArePrintable) {
  EXPECT_EQ(printable("feed é 日本"), "feed é 日本");
  EXPECT_EQ(printable("a\x1b[0mb\n"), "a�[0mb�");
  EXPECT_EQ(printable("\xff\xc3"), "��");
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            "a�b");
  EXPECT_EQ(printable("\xf0\x9f\x9b\x92"), "🛒");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "�x");
  EXPECT_EQ(printable("日本語です", 3), "日本語…");
}

}  // namespace
}  // namespace uniscale::es3
