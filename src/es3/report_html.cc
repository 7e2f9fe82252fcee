#include "es3/report_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/version.h"
#include "es3/report_chart.h"
#include "es3/report_remarks.h"
#include "es3/report_shares.h"

namespace uniscale::es3 {
namespace {

// More domains than this are drawn as one; the table beside the chart holds them up to kMostRows.
constexpr size_t kMostBars = 12;
constexpr size_t kMostRows = 300;

constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --muted: #5c6670; --line: #d8dde3;
  --card: #f6f8fa; --good: #1a7f37; --bad: #c62828; --warn: #9a6700;
  --k0: #2f6fb7; --k1: #d9730d; --k2: #2e8b57; --k3: #8a5fbf; --k4: #c2397a; --k5: #7a828b; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171a; --fg: #e4e8ec; --muted: #9aa5b0;
  --line: #343b42; --card: #1d2226; --good: #57c46f; --bad: #ff7b72; --warn: #e3b341;
  --k0: #6aa5e8; --k1: #f0994a; --k2: #5fbf8b; --k3: #b391e0; --k4: #e57bb0; --k5: #8f98a1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 0.2em 0; } h2 { font-size: 1.15rem; margin: 1.6em 0 0.4em; }
h3 { font-size: 1rem; margin: 0.8em 0 0.3em; }
p { margin: 0.4em 0; } .muted { color: var(--muted); font-size: 0.875rem; }
.state { font-size: 0.875rem; border: 1px solid var(--line); border-radius: 1em; padding: 0.1em 0.7em;
  vertical-align: middle; white-space: nowrap; }
.verdict { border-left: 5px solid var(--muted); background: var(--card); padding: 0.6em 0.9em; margin: 0.8em 0; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.verdict.warn { border-color: var(--warn); }
.verdict > strong { display: block; } .verdict ul { margin: 0.4em 0 0; padding-left: 1.2em; }
.verdict li { margin: 0.2em 0; overflow-wrap: anywhere; } li.note { color: var(--muted); }
.failed { color: var(--bad); } .passed { color: var(--good); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 8px; }
.tiles div { background: var(--card); padding: 0.5em 0.7em; border-radius: 4px; }
.tiles b { display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--muted); font-size: 0.8125rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 8px 32px; }
.pair > div { min-width: 0; break-inside: avoid; }
svg { display: block; width: 100%; max-width: 480px; height: auto; }
svg text { fill: var(--fg); font-family: inherit; } .label { font-size: 11.5px; }
.small { font-size: 9.5px; fill: var(--muted); } .end { text-anchor: end; } .mid { text-anchor: middle; }
.track { fill: var(--line); opacity: 0.45; } .grid { stroke: var(--line); }
.mark { stroke: var(--bad); stroke-dasharray: 4 3; } .line { fill: none; stroke-width: 2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3em 0.5em; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; color: var(--muted); } th:first-child, td:first-child { text-align: left; }
th small { display: block; font-weight: 400; }
.texts td, .texts th { text-align: left; }
.named td:nth-child(2), .named th:nth-child(2) { text-align: left; overflow-wrap: anywhere; min-width: 6em; }
td small { display: block; color: var(--muted); } tr.sum td { font-weight: 600; }
tr.group td { font-weight: 600; padding-top: 0.9em; }
.legend { font-size: 0.8125rem; color: var(--muted); } .legend span { white-space: nowrap; margin-right: 0.9em; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.3em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8125rem; background: var(--card); padding: 0.8em; }
@media (max-width: 480px) { table { font-size: 0.75rem; } th, td { padding: 0.25em 0.3em; } }
@media print { :root { --bg: #fff; --fg: #000; --muted: #444; --card: #f3f3f3; --line: #bbb; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } tr, .verdict { break-inside: avoid; } .scroll { overflow: visible; } }
)css";

constexpr std::array<int, 6> kSourceColors = {5, 0, 1, 2, 3, 4};

// "1,234,567"
std::string grouped(int64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (left % 3 == 0 && !out.empty() && out.back() != '-') out += ',';
    out += digits[i];
  }
  return out;
}

std::string percent(const Share& share) {
  return share.whole == 0 ? "–" : fmt::format("{:.1f} %", 100 * share.value());
}

std::string times(int64_t value, int64_t base) {
  return base == 0 ? "–" : fmt::format("{:.2f}×", static_cast<double>(value) / static_cast<double>(base));
}

std::string bytes_text(int64_t bytes) {
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
  return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
}

// A name of a log, ready for the page.
std::string shown(std::string_view name) {
  return name.empty() ? "<em>none</em>" : escape_html(printable(name));
}

std::string row(std::initializer_list<std::string> cells, std::string_view style = "") {
  std::string out = style.empty() ? "<tr>" : fmt::format("<tr class=\"{}\">", style);
  for (const std::string& cell : cells) out += "<td>" + cell + "</td>";
  return out + "</tr>\n";
}

std::string head(std::initializer_list<std::string_view> cells, std::string_view style = "") {
  std::string out = fmt::format("<div class=\"scroll {}\"><table>\n<tr>", style);
  for (const std::string_view cell : cells) out += fmt::format("<th>{}</th>", cell);
  return out + "</tr>\n";
}
constexpr std::string_view kTableEnd = "</table></div>\n";

std::string tile(const std::string& value, std::string_view meaning) {
  return fmt::format("<div><b>{}</b><span>{}</span></div>\n", value, meaning);
}

class Page {
 public:
  explicit Page(const DayReport& report) : report_(report), shares_(shares_of(report)) {}

  std::string write() {
    const std::string day = base::format_day(report_.day);
    out_ = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>Samples of {}</title>\n<style>{}{}</style>\n</head>\n<body>\n<main>\n",
        day, kStyle, color_classes());
    out_ += fmt::format("<h1>Samples of {} <span class=\"state\">{}</span></h1>\n", day,
                        report_.is_final ? "final" : "provisional");
    write_trust();
    write_tiles();
    write_ladder();
    write_positives();
    write_delays();
    write_queries();
    write_ledger();
    write_storage();
    write_days();
    out_ += fmt::format("<h2>Rules of this build</h2>\n<pre>{}</pre>\n", escape_html(report_.rules));
    out_ += fmt::format("<p class=\"muted\">uniscale {}</p>\n</main>\n</body>\n</html>\n",
                        escape_html(base::kVersion));
    return std::move(out_);
  }

 private:
  static std::string color_classes() {
    std::string out;
    for (int color = 0; color < kNumChartColors; ++color)
      out += fmt::format(
          ".k{0} {{ fill: var(--k{0}); }} .s{0} {{ stroke: var(--k{0}); }} .b{0} {{ background: "
          "var(--k{0}); }}\n",
          color);
    return out;
  }

  void write_trust() {
    const std::vector<Remark> remarks = remarks_on(report_);
    const bool has_warnings = std::any_of(remarks.begin(), remarks.end(), [](const Remark& remark) {
      return remark.kind == RemarkKind::Warning;
    });
    const std::string_view style = has_failed(report_.gates) ? "bad"
                                   : has_warnings            ? "warn"
                                   : report_.gates.empty()   ? ""
                                                             : "good";
    out_ += fmt::format("<section class=\"verdict {}\" aria-label=\"Verdict\"><strong>{}</strong>\n<ul>\n",
                        style, escape_html(verdict_of(report_)));
    for (const GateResult& gate : report_.gates) {
      if (gate.state == GateState::Failed)
        out_ += fmt::format("<li class=\"failed\">{}</li>\n", escape_html(to_text(gate)));
    }
    for (const Remark& remark : remarks)
      out_ += fmt::format("<li class=\"{}\">{}</li>\n",
                          remark.kind == RemarkKind::Warning ? "warning" : "note", escape_html(remark.text));
    out_ += "</ul></section>\n";
    if (report_.gates.empty()) return;
    out_ += "<h2>Gates</h2>\n" + head({"gate", "state", "expected", "got"}, "texts");
    for (const GateResult& gate : report_.gates) {
      const std::string_view state = kGateStateNames[static_cast<size_t>(gate.state)];
      out_ += row({escape_html(gate.name),
                   fmt::format("<span class=\"{}\">{}</span>", state,
                               gate.state == GateState::NotJudged ? "not judged" : state),
                   escape_html(gate.limit), escape_html(gate.measured)});
    }
    out_ += kTableEnd;
  }

  void write_tiles() {
    const StageReport& first = report_.counts.ladder.front();
    const StageReport& last = report_.counts.ladder.back();
    out_ += "<h2>At a glance</h2>\n<div class=\"tiles\">\n";
    out_ += tile(grouped(last.num_requests), "requests (rows)");
    out_ += tile(grouped(last.num_samples), "samples");
    out_ += tile(times(last.num_samples, first.num_samples), "samples, to exposed only");
    out_ += tile(times(last.num_positives[0], first.num_positives[0]), "click positives, to exposed only");
    out_ += tile(percent(shares_.click_rate), "click rate of exposed samples");
    out_ += tile(percent(shares_.orphans), "orphans of the search domain's events");
    if (report_.options.attribution)
      out_ += tile(percent(shares_.attributed), "of offered events attributed");
    if (report_.options.searchify)
      out_ += tile(percent(shares_.queries), "of other domains' positives got a query");
    out_ += "</div>\n";
  }

  void write_ladder() {
    out_ +=
        "<h2>Ladder</h2>\n<p class=\"muted\">What each step adds, relative to exposed samples only.</p>\n";
    const StageReport& first = report_.counts.ladder.front();
    std::vector<Bar> samples, clicks;
    for (const StageReport& rung : report_.counts.ladder) {
      samples.push_back({rung.name,
                         times(rung.num_samples, first.num_samples),
                         {{static_cast<double>(rung.num_samples), 0}}});
      clicks.push_back({rung.name,
                        times(rung.num_positives[0], first.num_positives[0]),
                        {{static_cast<double>(rung.num_positives[0]), 1}}});
    }
    out_ += "<div class=\"pair\"><div><h3>Samples</h3>\n" + bar_chart("samples by rung", samples) +
            "</div><div><h3>Click positives</h3>\n" + bar_chart("click positives by rung", clicks) +
            "</div></div>\n";
    out_ += head({"rung", "requests", "samples", "", "clicks", "", "carts", "purchases"});
    for (const StageReport& rung : report_.counts.ladder)
      out_ += row({escape_html(rung.name), grouped(rung.num_requests), grouped(rung.num_samples),
                   times(rung.num_samples, first.num_samples), grouped(rung.num_positives[0]),
                   times(rung.num_positives[0], first.num_positives[0]), grouped(rung.num_positives[1]),
                   grouped(rung.num_positives[2])});
    out_ += kTableEnd;
  }

  using Sources = std::array<int64_t, schema::kLabelSourceNames.size()>;

  void write_positives() {
    std::map<std::pair<schema::Task, std::string>, Sources> by_domain;
    for (const auto& [key, bins] : report_.counts.positives.cells) {
      int64_t& count = by_domain[{std::get<0>(key), std::get<2>(key)}][static_cast<size_t>(std::get<1>(key))];
      for (const int64_t in_bin : bins) count += in_bin;
    }
    out_ += "<h2>Positives by source and domain</h2>\n";
    if (by_domain.empty()) {
      out_ += "<p>No label is 1 on this day.</p>\n";
      return;
    }
    out_ += "<div class=\"pair\">\n";
    for (size_t task = 0; task < schema::kNumTasks; ++task)
      write_positive_bars(static_cast<schema::Task>(task), by_domain);
    out_ += "</div>\n<p class=\"legend\">";
    for (size_t source = 1; source < schema::kLabelSourceNames.size(); ++source)
      out_ += fmt::format("<span><i class=\"b{}\"></i>{}</span> ", kSourceColors[source],
                          schema::kLabelSourceNames[source]);
    out_ +=
        "</p>\n" +
        head({"task", "domain", "native", "hla_clicked", "hla_exposed", "hla_unexposed", "cross"}, "named");
    size_t num_rows = 0;
    for (const auto& [key, sources] : by_domain) {
      if (++num_rows > kMostRows) break;
      out_ += row({std::string(schema::kTaskNames[static_cast<size_t>(key.first)]), shown(key.second),
                   grouped(sources[1]), grouped(sources[2]), grouped(sources[3]), grouped(sources[4]),
                   grouped(sources[5])});
    }
    out_ += kTableEnd;
    if (by_domain.size() > kMostRows)
      out_ += fmt::format("<p class=\"muted\">{} more lines are in the JSON.</p>\n",
                          by_domain.size() - kMostRows);
  }

  void write_positive_bars(schema::Task task,
                           const std::map<std::pair<schema::Task, std::string>, Sources>& by_domain) {
    std::vector<std::pair<int64_t, Bar>> bars;
    for (const auto& [key, sources] : by_domain) {
      if (key.first != task) continue;
      Bar bar;
      int64_t sum = 0;
      for (size_t source = 1; source < sources.size(); ++source) {
        sum += sources[source];
        bar.segments.push_back({static_cast<double>(sources[source]), kSourceColors[source]});
      }
      bar.label = key.second.empty() ? "none" : printable(key.second, 28);
      bar.value_text = grouped(sum);
      bars.emplace_back(sum, std::move(bar));
    }
    if (bars.empty()) return;
    std::stable_sort(bars.begin(), bars.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<Bar> drawn;
    for (size_t i = 0; i < std::min(bars.size(), kMostBars); ++i) drawn.push_back(std::move(bars[i].second));
    const std::string_view name = schema::kTaskNames[static_cast<size_t>(task)];
    out_ += fmt::format("<div><h3>{}</h3>\n", name) +
            bar_chart(fmt::format("{} positives by domain and source", name), drawn);
    if (bars.size() > kMostBars)
      out_ +=
          fmt::format("<p class=\"muted\">{} smaller domains: in the table.</p>\n", bars.size() - kMostBars);
    out_ += "</div>\n";
  }

  // Native, attributed, searchified.
  static size_t stage_of(schema::LabelSource source) {
    return source == schema::LabelSource::Native ? 0 : source == schema::LabelSource::Cross ? 2 : 1;
  }

  void write_delays() {
    std::string charts;
    for (size_t t = 0; t < schema::kNumTasks; ++t) {
      const auto task = static_cast<schema::Task>(t);
      std::vector<DelayLine> lines = {{"native", 0, {}}, {"attributed", 2, {}}, {"cross-domain", 4, {}}};
      for (const auto& [key, bins] : report_.counts.positives.cells) {
        if (std::get<0>(key) != task) continue;
        DelayLine& line = lines[stage_of(std::get<1>(key))];
        for (size_t bin = 0; bin < bins.size(); ++bin) line.bins[bin] += bins[bin];
      }
      const std::string chart = delay_chart(fmt::format("{} positives by delay", schema::kTaskNames[t]),
                                            lines, window_of(report_.options, task));
      if (!chart.empty()) charts += fmt::format("<div><h3>{}</h3>\n{}</div>\n", schema::kTaskNames[t], chart);
    }
    if (charts.empty()) return;
    out_ +=
        "<h2>Delay</h2>\n<p class=\"muted\">Share of positives that had come by this time after their "
        "request. "
        "The dashed mark is the task's window; clicks implied by carts and purchases may lie beyond the "
        "click "
        "window. A curve that still rises at the mark is cut off.</p>\n<div class=\"pair\">\n" +
        charts + "</div>\n";
    write_delay_table();
  }

  // Counts by bin, a column a task and stage; empty columns and the empty bins at both ends are left out.
  void write_delay_table() {
    constexpr std::array<std::string_view, 3> kStages = {"native", "attributed", "cross-domain"};
    std::vector<std::string> names;
    std::vector<std::array<int64_t, kDelayBinNames.size()>> columns;
    size_t first = kDelayBinNames.size(), last = 0;
    for (size_t task = 0; task < schema::kNumTasks; ++task) {
      for (size_t stage = 0; stage < kStages.size(); ++stage) {
        std::array<int64_t, kDelayBinNames.size()> column{};
        for (const auto& [key, bins] : report_.counts.positives.cells) {
          if (static_cast<size_t>(std::get<0>(key)) != task || stage_of(std::get<1>(key)) != stage) continue;
          for (size_t bin = 0; bin < bins.size(); ++bin) column[bin] += bins[bin];
        }
        bool is_empty = true;
        for (size_t bin = 0; bin < column.size(); ++bin) {
          if (column[bin] == 0) continue;
          is_empty = false;
          first = std::min(first, bin);
          last = std::max(last, bin);
        }
        if (is_empty) continue;
        names.push_back(fmt::format("{}<small>{}</small>", schema::kTaskNames[task], kStages[stage]));
        columns.push_back(column);
      }
    }
    out_ += "<div class=\"scroll\"><table>\n<tr><th>delay</th>";
    for (const std::string& name : names) out_ += "<th>" + name + "</th>";
    out_ += "</tr>\n";
    for (size_t bin = first; bin <= last; ++bin) {
      out_ += "<tr><td>" + escape_html(kDelayBinNames[bin]) + "</td>";
      for (const auto& column : columns) out_ += "<td>" + grouped(column[bin]) + "</td>";
      out_ += "</tr>\n";
    }
    out_ += kTableEnd;
  }

  void write_queries() {
    out_ += "<h2>Requests made of other domains</h2>\n";
    if (!report_.options.searchify) {
      out_ += "<p>Switched off (es3.searchify = false).</p>\n";
      return;
    }
    const CrossCounts& cross = report_.counts.cross;
    const auto& rate = report_.click_rate_before;
    out_ += fmt::format(
        "<p>{} positives; {} without a similar shown item, {} without a query; {} rows with {} negatives. At "
        "most "
        "{} negatives a positive (click rate p<sub>0</sub> of the day before: {}).</p>\n",
        grouped(cross.num_positives), grouped(cross.no_negative), grouped(cross.no_query),
        grouped(cross.num_rows), grouped(cross.num_negatives), report_.negatives_per_positive,
        rate ? percent({rate->num_clicked, rate->num_exposed}) : "unknown");
    if (cross.num_positives == 0) return;
    constexpr std::array<std::string_view, kNumTiers> kTexts = {"1 own query", "2 co-clicked",
                                                                "3 nearest title"};
    std::vector<Bar> used;
    for (size_t tier = 0; tier < kNumTiers; ++tier)
      used.push_back({std::string(kTexts[tier]),
                      fmt::format("{} ({})", percent(shares_.tiers[tier]), grouped(cross.by_tier[tier])),
                      {{static_cast<double>(cross.by_tier[tier]), static_cast<int>(tier) + 1}}});
    used.push_back(
        {"no query",
         fmt::format("{} ({})", percent({cross.no_query, shares_.queries.whole}), grouped(cross.no_query)),
         {{static_cast<double>(cross.no_query), 5}}});
    out_ += "<div class=\"pair\"><div><h3>Which tier answered</h3>\n" +
            bar_chart("positives by query tier", used, static_cast<double>(shares_.queries.whole)) + "</div>";
    std::vector<Column> tenths;
    for (size_t bin = 0; bin < kSimilarityBins; ++bin)
      tenths.push_back({fmt::format("0.{}", bin), cross.ann_similarity[bin]});
    if (cross.by_tier[2] > 0)
      out_ += "<div><h3>Similarity of tier 3's answers</h3>\n" +
              column_chart("similarity of title and query by tenths", tenths) + "</div>";
    out_ += "</div>\n" + head({"tier", "used", "could answer", "beside own", "same query"});
    for (size_t tier = 0; tier < kNumTiers; ++tier)
      out_ += row({std::string(kTexts[tier]), grouped(cross.by_tier[tier]), grouped(cross.covered[tier]),
                   grouped(cross.beside_own[tier]),
                   tier == 0 ? ""
                             : fmt::format("{} ({})", percent(shares_.agreement[tier]),
                                           grouped(cross.same_as_own[tier]))});
    out_ += kTableEnd;
    out_ +=
        "<p class=\"muted\">Beside own: positives whose user's own query is known and for which the tier has "
        "an "
        "answer too. Same query: how often it is the user's own. It is the only truth there is, and a strict "
        "one: another query for the same thing counts as wrong.</p>\n";
  }

  void write_verdict(Verdict verdict, std::string_view meaning) {
    const auto& line = report_.counts.events.cells[static_cast<size_t>(verdict)];
    if (report_.counts.events.of(verdict) == 0) return;
    out_ += row({fmt::format("{}<small>{}</small>", kVerdictNames[static_cast<size_t>(verdict)], meaning),
                 grouped(line[0]), grouped(line[1]), grouped(line[2]), grouped(line[3]),
                 grouped(report_.counts.events.of(verdict))});
  }

  void write_group(std::string_view name,
                   std::initializer_list<std::pair<Verdict, std::string_view>> verdicts) {
    int64_t sum = 0;
    for (const auto& [verdict, meaning] : verdicts) sum += report_.counts.events.of(verdict);
    if (sum == 0) return;
    out_ += row({std::string(name), "", "", "", "", grouped(sum)}, "group");
    for (const auto& [verdict, meaning] : verdicts) write_verdict(verdict, meaning);
  }

  void write_ledger() {
    const EventCounts& events = report_.counts.events;
    out_ += "<h2>Where every event went</h2>\n" + head({"", "click", "cart", "purchase", "other", "all"});
    write_group("Labels", {{Verdict::Native, "in the search request that showed the item"},
                           {Verdict::Attributed, "credited to a search sample"},
                           {Verdict::CrossPositive, "became a request of another domain"},
                           {Verdict::CrossLabel, "labels such a request's click"}});
    write_group("Used up, changing nothing",
                {{Verdict::AlreadyLabelled, "the sample was positive already, or no level matched"},
                 {Verdict::DuplicateCredit, "an earlier event has the credit"}});
    write_group("Dropped", {{Verdict::UnknownRequest, "orphan: names a request that is not there"},
                            {Verdict::ItemNotInList, "orphan: the item is not in the list"},
                            {Verdict::NotExposed, "orphan: the item was not shown"},
                            {Verdict::BeforeRequest, "orphan: before its request"},
                            {Verdict::WindowPassed, "orphan: after its window"},
                            {Verdict::NoRequestFound, "orphan: no request of the user showed the item"},
                            {Verdict::CrossDomain, "cart or purchase without a sample or a click to label"},
                            {Verdict::NoRequest, "click without its own request"},
                            {Verdict::NoNegative, "no similar item was shown beside it"},
                            {Verdict::NoQuery, "no tier knew a query"}});
    write_group("Elsewhere", {{Verdict::RequestOfOtherDay, "its request lies on another day, which decides"},
                              {Verdict::OtherAction, "feeds histories only"}});
    std::array<int64_t, kNumActions> by_action{};
    for (const auto& line : events.cells) {
      for (size_t a = 0; a < by_action.size(); ++a) by_action[a] += line[a];
    }
    out_ += row({"all lines", grouped(by_action[0]), grouped(by_action[1]), grouped(by_action[2]),
                 grouped(by_action[3]), grouped(events.total())},
                "sum");
    out_ += kTableEnd;
    out_ += fmt::format("<p class=\"{}\">Events of the day, counted on their own: {}; {}.</p>\n",
                        events.total() == events.num_events ? "passed" : "failed", grouped(events.num_events),
                        events.total() == events.num_events ? "the lines add up" : "the lines do not add up");
    write_orphans();
  }

  void write_orphans() {
    out_ += fmt::format(
        "<h3>Orphans of the search domain</h3>\n<p>{} of {} events ({}), whatever became of them "
        "later.</p>\n",
        grouped(shares_.orphans.part), grouped(shares_.orphans.whole), percent(shares_.orphans));
    std::vector<Bar> causes;
    for (size_t v = 0; v < kNumVerdicts; ++v) {
      int64_t sum = 0;
      for (const int64_t count : report_.counts.events.orphans[v]) sum += count;
      if (sum > 0)
        causes.push_back({std::string(kVerdictNames[v]),
                          fmt::format("{} ({})", percent({sum, shares_.orphans.whole}), grouped(sum)),
                          {{static_cast<double>(sum), 1}}});
    }
    if (causes.empty()) return;
    out_ += bar_chart("orphans by cause", causes) +
            head({"cause", "click", "cart", "purchase", "all", "left without a sample"});
    for (size_t v = 0; v < kNumVerdicts; ++v) {
      const auto& line = report_.counts.events.orphans[v];
      const int64_t sum = line[0] + line[1] + line[2];
      if (sum > 0)
        out_ += row({std::string(kVerdictNames[v]), grouped(line[0]), grouped(line[1]), grouped(line[2]),
                     grouped(sum), grouped(report_.counts.events.of(static_cast<Verdict>(v)))});
    }
    out_ += kTableEnd;
  }

  void write_storage() {
    const StorageReport& storage = report_.storage;
    out_ += "<h2>Storage</h2>\n";
    std::vector<Bar> bars = {{"list-wise (as written)",
                              bytes_text(storage.list_bytes),
                              {{static_cast<double>(storage.list_bytes), 2}}}};
    if (storage.flat_sorted_bytes > 0) {
      bars.push_back({"flat, sorted by request",
                      bytes_text(storage.flat_sorted_bytes),
                      {{static_cast<double>(storage.flat_sorted_bytes), 5}}});
      bars.push_back({"flat, shuffled",
                      bytes_text(storage.flat_shuffled_bytes),
                      {{static_cast<double>(storage.flat_shuffled_bytes), 5}}});
      out_ += fmt::format(
          "<p>Flat: the same rows stored one a sample. List-wise is {} of it sorted, {} of it "
          "shuffled.</p>\n",
          percent({storage.list_bytes, storage.flat_sorted_bytes}),
          percent({storage.list_bytes, storage.flat_shuffled_bytes}));
    }
    out_ += bar_chart("bytes", bars) + head({"stored", "bytes", "a sample", "list-wise to it"});
    const int64_t num_samples = report_.counts.ladder.back().num_samples;
    const auto line = [&](std::string_view name, int64_t bytes) {
      const double of_sample =
          num_samples == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(num_samples);
      out_ += row({std::string(name), grouped(bytes), fmt::format("{:.1f}", of_sample),
                   percent({storage.list_bytes, bytes})});
    };
    line("list-wise", storage.list_bytes);
    if (storage.flat_sorted_bytes > 0) {
      line("flat, sorted by request", storage.flat_sorted_bytes);
      line("flat, shuffled", storage.flat_shuffled_bytes);
    }
    out_ += kTableEnd;
    if (storage.flat_sorted_bytes == 0)
      out_ += "<p class=\"muted\">The flat size is measured with --measure-flat.</p>\n";
  }

  void write_days() {
    out_ +=
        fmt::format("<h2>Days</h2>\n<p>{}. Later days missing: {}. Look-back days missing: {}.</p>\n",
                    report_.is_final ? "Final: every day that may label this one was read"
                                     : "Provisional: run the same command again once the missing days are "
                                       "ingested",
                    report_.missing_later.empty() ? "none" : format_days(report_.missing_later),
                    report_.missing_earlier.empty() ? "none" : format_days(report_.missing_earlier));
  }

  const DayReport& report_;
  const DayShares shares_;
  std::string out_;
};

}  // namespace

std::string to_html(const DayReport& report) { return Page(report).write(); }

}  // namespace uniscale::es3
