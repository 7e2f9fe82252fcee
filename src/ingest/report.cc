#include <fmt/format.h>

#include "ingest/ingest.h"

namespace uniscale::ingest {
namespace {

json::Value counts_json(const std::map<std::string, int64_t>& counts) {
  json::Value object = json::Value::object();
  for (const auto& [name, count] : counts) object[name] = count;
  return object;
}

void add_counts(std::string& text, std::string_view title, const std::map<std::string, int64_t>& counts) {
  for (const auto& [name, count] : counts) text += fmt::format("{} {}: {}\n", title, name, count);
}

}  // namespace

int64_t Report::num_rows() const {
  int64_t rows = 0;
  for (const SourceReport& source : sources) rows += source.num_rows;
  return rows;
}

int64_t Report::num_rejected() const {
  int64_t rows = 0;
  for (const SourceReport& source : sources) rows += source.num_rejected;
  return rows;
}

json::Value Report::to_json() const {
  json::Value out = json::Value::object();
  out["store"] = store;
  out["days"] = days;
  out["empty_days"] = empty_days;
  json::Value list = json::Value::array();
  for (const SourceReport& source : sources) {
    list.push_back({{"name", source.name},
                    {"files", source.num_files},
                    {"rows", source.num_rows},
                    {"rejected", source.num_rejected}});
  }
  out["sources"] = std::move(list);
  out["rejected"] = counts_json(rejected);
  out["repaired"] = counts_json(repaired);
  out["cleaned"] = counts_json(cleaned);
  out["requests"] = num_requests;
  out["candidates"] = num_candidates;
  out["events"] = num_events;
  out["items"] = num_items;
  out["users"] = num_users;
  return out;
}

std::string Report::to_text() const {
  std::string text;
  for (const SourceReport& source : sources) {
    text += fmt::format("source {}: {} files, {} rows, {} rejected\n", source.name, source.num_files,
                        source.num_rows, source.num_rejected);
  }
  add_counts(text, "rejected", rejected);
  add_counts(text, "repaired", repaired);
  add_counts(text, "cleaned", cleaned);
  text += fmt::format("{}: {} days", store, days.size());
  if (!days.empty()) text += fmt::format(" ({} … {})", days.front(), days.back());
  for (const std::string& day : empty_days) text += fmt::format(", {} is empty: no rows in the sources", day);
  text += fmt::format(", {} requests, {} candidates, {} events", num_requests, num_candidates, num_events);
  if (num_items > 0) text += fmt::format(", {} item versions", num_items);
  if (num_users > 0) text += fmt::format(", {} user versions", num_users);
  return text + "\n";
}

}  // namespace uniscale::ingest
