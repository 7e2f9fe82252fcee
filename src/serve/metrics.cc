#include "serve/metrics.h"

#include <fmt/format.h>

namespace uniscale::serve {

void Histogram::observe(double seconds) {
  size_t bucket = 0;
  while (bucket < kSecondBounds.size() && seconds > kSecondBounds[bucket]) ++bucket;
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(static_cast<uint64_t>(seconds * 1e9), std::memory_order_relaxed);
}

void Histogram::print(const std::string& name, const std::string& labels, std::string& out) const {
  const std::string comma = labels.empty() ? "" : ",";
  const std::string braces = labels.empty() ? "" : "{" + labels + "}";
  uint64_t total = 0;
  for (size_t i = 0; i <= kSecondBounds.size(); ++i) {
    total += counts_[i].load(std::memory_order_relaxed);
    const std::string bound = i < kSecondBounds.size() ? fmt::format("{}", kSecondBounds[i]) : "+Inf";
    out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, bound, total);
  }
  out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces, static_cast<double>(sum_ns_.load()) * 1e-9,
                     name, braces, total);
}

void Metrics::count_request(const std::string& model, int64_t version, int code) {
  const std::scoped_lock lock(mutex_);
  ++requests_[fmt::format("model=\"{}\",version=\"{}\",code=\"{}\"", model, version, code)];
}

void Metrics::count_shed(const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  ++shed_[fmt::format("reason=\"{}\"", reason)];
}

void Metrics::count_load(const std::string& model, bool ok) {
  const std::scoped_lock lock(mutex_);
  ++loads_[fmt::format("model=\"{}\",result=\"{}\"", model, ok ? "ok" : "refused")];
}

void Metrics::count_missing(int64_t users, int64_t items) {
  missing_users_.fetch_add(static_cast<uint64_t>(users), std::memory_order_relaxed);
  missing_items_.fetch_add(static_cast<uint64_t>(items), std::memory_order_relaxed);
}

void Metrics::set_model(const std::string& model, int64_t version) {
  const std::scoped_lock lock(mutex_);
  models_[model] = version;
}

std::string Metrics::text() const {
  std::string out;
  const auto head = [&](const char* name, const char* type, const char* help) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  };
  {
    const std::scoped_lock lock(mutex_);
    head("uniscale_rank_requests_total", "counter", "Rank requests by model, version and HTTP code.");
    for (const auto& [labels, count] : requests_)
      out += fmt::format("uniscale_rank_requests_total{{{}}} {}\n", labels, count);
    head("uniscale_shed_total", "counter", "Requests refused or late, by reason.");
    for (const auto& [labels, count] : shed_)
      out += fmt::format("uniscale_shed_total{{{}}} {}\n", labels, count);
    head("uniscale_model_loads_total", "counter", "Versions loaded or refused.");
    for (const auto& [labels, count] : loads_)
      out += fmt::format("uniscale_model_loads_total{{{}}} {}\n", labels, count);
    head("uniscale_model_info", "gauge", "The version that serves.");
    for (const auto& [model, version] : models_)
      out += fmt::format("uniscale_model_info{{model=\"{}\",version=\"{}\"}} 1\n", model, version);
  }
  head("uniscale_candidates", "counter", "Candidates scored.");
  out += fmt::format("uniscale_candidates {}\n", candidates.load());
  head("uniscale_feature_missing_total", "counter", "Ids unknown to the bundle's tables.");
  out += fmt::format("uniscale_feature_missing_total{{feature=\"user\"}} {}\n", missing_users_.load());
  out += fmt::format("uniscale_feature_missing_total{{feature=\"item\"}} {}\n", missing_items_.load());
  head("uniscale_in_flight", "gauge", "Rank requests being worked on.");
  out += fmt::format("uniscale_in_flight {}\n", in_flight.load());
  head("uniscale_queue_requests", "gauge", "Requests that wait for a scoring thread.");
  out += fmt::format("uniscale_queue_requests {}\n", queue_waiting.load());
  head("uniscale_queue_candidates", "gauge", "Candidates that wait or are being scored.");
  out += fmt::format("uniscale_queue_candidates {}\n", queue_candidates.load());
  head("uniscale_queue_duration_seconds", "histogram",
       "From the last byte of the request to its first chunk.");
  queue_duration.print("uniscale_queue_duration_seconds", "", out);
  head("uniscale_rank_duration_seconds", "histogram", "From the last byte of the request to the reply.");
  rank_duration.print("uniscale_rank_duration_seconds", "", out);
  head("uniscale_stage_duration_seconds", "histogram", "Parts of a rank request.");
  stage_parse.print("uniscale_stage_duration_seconds", "stage=\"parse\"", out);
  stage_features.print("uniscale_stage_duration_seconds", "stage=\"features\"", out);
  stage_score.print("uniscale_stage_duration_seconds", "stage=\"score\"", out);
  stage_reply.print("uniscale_stage_duration_seconds", "stage=\"reply\"", out);
  return out;
}

}  // namespace uniscale::serve
