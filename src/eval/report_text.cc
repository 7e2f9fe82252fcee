#include <fmt/format.h>

#include "eval/report.h"

namespace uniscale::eval {
namespace {

std::string counts_of(const Report& report) {
  std::string out = fmt::format("{} rows, {} positives, {} users, {} requests", report.rows, report.positives,
                                report.users, report.requests);
  if (report.rows_without_user > 0) {
    out += fmt::format("; {} rows without a user are in no user group", report.rows_without_user);
  }
  return out;
}

std::string groups_of(const Metric& metric) {
  if (metric.groups_used + metric.groups_dropped == 0) return "";
  return fmt::format("{} used, {} dropped", metric.groups_used, metric.groups_dropped);
}

}  // namespace

std::string table(const Report& report, const std::string& title) {
  std::string out = fmt::format("{}\n{}\n", title, counts_of(report));
  if (!report.as.empty()) out += fmt::format("convention of {}; no intervals\n", report.as);
  if (report.as.empty() && report.resamples > 0) {
    out += fmt::format("intervals: central 95 % of {} bootstrap resamples of users, seed {}\n",
                       report.resamples, report.seed);
  }
  if (report.is_difference) out += "values: first minus second, over the same resamples\n";
  out += fmt::format("  {:<18} {:>10}  {:<20}  {:<8} {:<18} {:<12} {}\n", "metric", "value", "95 % interval",
                     "group", "weight", "ties", "groups");
  for (const Line& line : report.lines) {
    const std::string value = line.metric.value ? fmt::format("{:.5f}", *line.metric.value) : "null";
    const std::string range = line.low ? fmt::format("{:.5f} … {:.5f}", *line.low, *line.high) : "";
    std::string rest = groups_of(line.metric);
    for (const std::string& more : {line.metric.reason, line.note}) {
      if (!more.empty()) rest += (rest.empty() ? "" : "; ") + more;
    }
    out += fmt::format("  {:<18} {:>10}  {:<20}  {:<8} {:<18} {:<12} {}", line.key, value, range,
                       line.group.empty() ? "-" : line.group, line.weight.empty() ? "rows" : line.weight,
                       line.ties.empty() ? "-" : line.ties, rest);
    while (out.back() == ' ') out.pop_back();
    out += '\n';
  }
  return out;
}

json::Value to_json(const Report& report) {
  json::Value value;
  value["rows"] = report.rows;
  value["positives"] = report.positives;
  value["users"] = report.users;
  value["requests"] = report.requests;
  value["rows_without_user"] = report.rows_without_user;
  if (!report.as.empty()) value["as"] = report.as;
  if (report.is_difference) value["difference"] = "first minus second";
  value["interval"] = {{"method", "bootstrap by user"},
                       {"resamples", report.resamples},
                       {"seed", report.seed},
                       {"level", 0.95}};
  json::Value metrics = json::Value::object();
  for (const Line& line : report.lines) {
    json::Value one;
    one["value"] = line.metric.value ? json::Value(*line.metric.value) : json::Value(nullptr);
    if (!line.metric.reason.empty()) one["reason"] = line.metric.reason;
    if (line.low) {
      one["low"] = *line.low;
      one["high"] = *line.high;
    }
    one["group"] = line.group.empty() ? "all" : line.group;
    one["weight"] = line.weight.empty() ? "rows" : line.weight;
    if (!line.ties.empty()) one["ties"] = line.ties;
    if (!line.note.empty()) one["convention"] = line.note;
    if (line.metric.groups_used + line.metric.groups_dropped > 0) {
      one["groups_used"] = line.metric.groups_used;
      one["groups_dropped"] = line.metric.groups_dropped;
    }
    metrics[line.key] = std::move(one);
  }
  value["metrics"] = std::move(metrics);
  return value;
}

}  // namespace uniscale::eval
