// Charts of the report as inline SVG, drawn for a phone's width and growing with the page. Colours are
// classes `k0` … `k5` of the page's style sheet. Every text is escaped here. Pure; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "es3/report.h"

namespace uniscale::es3 {

inline constexpr int kNumChartColors = 6;

// For element content and quoted attributes. What comes from a log goes through `printable` first.
std::string escape_html(std::string_view text);

struct BarSegment {
  double value = 0;  // ≥ 0
  int color = 0;
};
struct Bar {
  std::string label;
  std::string value_text;
  std::vector<BarSegment> segments;
};
// One bar a line, label and value above it. The longest fills the width, or `full` does if it is larger.
std::string bar_chart(std::string_view name, const std::vector<Bar>& bars, double full = 0);

struct DelayLine {
  std::string label;
  int color = 0;
  std::array<int64_t, kDelayBinNames.size()> bins{};
};
// Share of positives that had come by each delay; one line each, the window as a dashed mark. Lines without
// positives are left out; "" if none has any.
std::string delay_chart(std::string_view name, const std::vector<DelayLine>& lines, base::Duration window);

struct Column {
  std::string label;
  int64_t count = 0;
};
std::string column_chart(std::string_view name, const std::vector<Column>& columns);

}  // namespace uniscale::es3
