#include "es3/report_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace uniscale::es3 {
namespace {

constexpr double kWidth = 360;

std::string open_svg(std::string_view name, double height) {
  return fmt::format(
      "<svg viewBox=\"0 0 {} {:.0f}\" role=\"img\" aria-label=\"{}\" xmlns=\"http://www.w3.org/2000/svg\">\n",
      kWidth, height, escape_html(name));
}

std::string text_at(double x, double y, std::string_view style, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, style,
                     escape_html(text));
}

// Where a delay lies on the axis, in bins: bounds of bins are evenly spaced, between them by logarithm.
double place_of(double delay_ms) {
  const size_t last = kDelayBins.size() - 1;
  if (delay_ms <= 0) return 0;
  for (size_t i = 1; i <= last; ++i) {
    const auto upper = static_cast<double>(kDelayBins[i]);
    if (delay_ms > upper) continue;
    const double lower = std::max(1000.0, static_cast<double>(kDelayBins[i - 1]));
    const double within = std::log(std::max(delay_ms, lower) / lower) / std::log(upper / lower);
    return static_cast<double>(i - 1) + within;
  }
  return static_cast<double>(last) + 0.5;
}

class DelayPlot {
 public:
  static constexpr double kLeft = 34, kRight = 8, kTop = 16, kBottom = 20, kHeight = 176;
  double x(double place) const {
    const auto num_bins = static_cast<double>(kDelayBinNames.size());
    return kLeft + (place + 1) / num_bins * (kWidth - kLeft - kRight);
  }
  double y(double share) const { return kTop + (1 - share) * (kHeight - kTop - kBottom); }

  std::string axes() const {
    std::string out;
    for (const double share : {0.0, 0.5, 1.0}) {
      out += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"grid\"/>\n", kLeft,
                         kWidth - kRight, y(share), y(share));
      out += text_at(kLeft - 4, y(share) + 3, "small end", fmt::format("{:.0f} %", 100 * share));
    }
    for (const auto& [bin, label] :
         {std::pair{0, "0"}, std::pair{2, "1m"}, std::pair{4, "10m"}, std::pair{6, "1h"}, std::pair{8, "6h"},
          std::pair{10, "1d"}, std::pair{12, "3d"}, std::pair{13, "7d"}})
      out += text_at(x(bin), kHeight - 6, "small mid", label);
    return out;
  }

  std::string window(base::Duration duration) const {
    const double at = x(place_of(static_cast<double>(duration.ms)));
    return fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\" class=\"mark\"/>\n", at, at,
                       kTop - 4, kHeight - kBottom) +
           text_at(at - 3, kTop - 5, "small end", "window " + base::format_duration(duration));
  }

  std::string line(const DelayLine& line, int64_t total) const {
    std::string points = fmt::format("{:.1f},{:.1f}", x(-1), y(0));
    int64_t sum = 0;
    for (size_t bin = 0; bin < line.bins.size(); ++bin) {
      sum += line.bins[bin];
      points += fmt::format(" {:.1f},{:.1f}", x(static_cast<double>(bin)),
                            y(static_cast<double>(sum) / static_cast<double>(total)));
    }
    return fmt::format("<polyline points=\"{}\" class=\"line s{}\"/>\n", points, line.color);
  }
};

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string bar_chart(std::string_view name, const std::vector<Bar>& bars, double full) {
  constexpr double kRow = 34, kBarHeight = 11;
  for (const Bar& bar : bars) {
    double sum = 0;
    for (const BarSegment& segment : bar.segments) sum += segment.value;
    full = std::max(full, sum);
  }
  std::string out = open_svg(name, kRow * static_cast<double>(bars.size()));
  double y = 0;
  for (const Bar& bar : bars) {
    out += text_at(0, y + 12, "label", bar.label);
    out += text_at(kWidth, y + 12, "label end", bar.value_text);
    out += fmt::format("<rect x=\"0\" y=\"{:.1f}\" width=\"{}\" height=\"{}\" class=\"track\"/>\n", y + 17,
                       kWidth, kBarHeight);
    double x = 0;
    for (const BarSegment& segment : bar.segments) {
      const double width = full == 0 ? 0 : segment.value / full * kWidth;
      if (width == 0) continue;
      out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" class=\"k{}\"/>\n",
                         x, y + 17, width, kBarHeight, segment.color);
      x += width;
    }
    y += kRow;
  }
  return out + "</svg>\n";
}

std::string delay_chart(std::string_view name, const std::vector<DelayLine>& lines, base::Duration window) {
  const DelayPlot plot;
  std::string drawn, legend;
  for (const DelayLine& line : lines) {
    int64_t total = 0;
    for (const int64_t count : line.bins) total += count;
    if (total == 0) continue;
    drawn += plot.line(line, total);
    legend +=
        fmt::format("<span><i class=\"b{}\"></i>{} ({})</span> ", line.color, escape_html(line.label), total);
  }
  if (drawn.empty()) return "";
  return open_svg(name, DelayPlot::kHeight) + plot.axes() + plot.window(window) + drawn +
         "</svg>\n<p class=\"legend\">" + legend + "</p>\n";
}

std::string column_chart(std::string_view name, const std::vector<Column>& columns) {
  constexpr double kHeight = 130, kTop = 16, kBottom = 18;
  int64_t most = 1;
  for (const Column& column : columns) most = std::max(most, column.count);
  const double step = kWidth / static_cast<double>(std::max<size_t>(columns.size(), 1));
  std::string out = open_svg(name, kHeight);
  double x = 0;
  for (const Column& column : columns) {
    const double height =
        static_cast<double>(column.count) / static_cast<double>(most) * (kHeight - kTop - kBottom);
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"k3\"/>\n",
                       x + 2, kHeight - kBottom - height, step - 4, height);
    if (column.count > 0)
      out +=
          text_at(x + step / 2, kHeight - kBottom - height - 3, "small mid", fmt::format("{}", column.count));
    out += text_at(x + step / 2, kHeight - 5, "small mid", column.label);
    x += step;
  }
  return out + "</svg>\n";
}

}  // namespace uniscale::es3
