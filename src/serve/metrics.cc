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
  if (code != 200) ++inferences_[fmt::format("model=\"{}\",version=\"{}\"", model, version)].failure;
}

void Metrics::count_shed(const std::string& reason) {
  const std::scoped_lock lock(mutex_);
  ++shed_[fmt::format("reason=\"{}\"", reason)];
}

void Metrics::count_load(const std::string& model, bool ok) {
  const std::scoped_lock lock(mutex_);
  ++loads_[fmt::format("model=\"{}\",result=\"{}\"", model, ok ? "ok" : "refused")];
}

void Metrics::count_missing(int64_t users, int64_t items,
                            const std::vector<std::pair<std::string, int64_t>>& features) {
  missing_users_.fetch_add(static_cast<uint64_t>(users), std::memory_order_relaxed);
  missing_items_.fetch_add(static_cast<uint64_t>(items), std::memory_order_relaxed);
  const std::scoped_lock lock(mutex_);
  for (const auto& [feature, rows] : features)
    missing_features_[fmt::format("feature=\"{}\"", feature)] += static_cast<uint64_t>(rows);
}

void Metrics::count_inference(const std::string& model, int64_t version, int64_t num_candidates,
                              const Seconds& seconds) {
  const std::scoped_lock lock(mutex_);
  Inferences& sum = inferences_[fmt::format("model=\"{}\",version=\"{}\"", model, version)];
  ++sum.success;
  sum.candidates += static_cast<uint64_t>(num_candidates);
  sum.seconds.total += seconds.total;
  sum.seconds.queue += seconds.queue;
  sum.seconds.input += seconds.input;
  sum.seconds.infer += seconds.infer;
  sum.seconds.output += seconds.output;
}

// Triton's names, for dashboards that know them. An execution is a request: there is no batching over
// requests.
void Metrics::print_inferences(std::string& out) const {
  const auto print = [&](const char* name, const char* help, auto value) {
    out += fmt::format("# HELP {} {}\n# TYPE {} counter\n", name, help, name);
    for (const auto& [labels, sum] : inferences_)
      out += fmt::format("{}{{{}}} {}\n", name, labels, value(sum));
  };
  const auto microseconds = [](double seconds) { return static_cast<uint64_t>(seconds * 1e6); };
  print("nv_inference_request_success", "Requests served.", [](const auto& sum) { return sum.success; });
  print("nv_inference_request_failure", "Requests answered with an error.",
        [](const auto& sum) { return sum.failure; });
  print("nv_inference_count", "Candidates scored.", [](const auto& sum) { return sum.candidates; });
  print("nv_inference_exec_count", "Executions.", [](const auto& sum) { return sum.success; });
  print("nv_inference_request_duration_us", "Sum, from the last byte to the reply.",
        [&](const auto& sum) { return microseconds(sum.seconds.total); });
  print("nv_inference_queue_duration_us", "Sum, waiting.",
        [&](const auto& sum) { return microseconds(sum.seconds.queue); });
  print("nv_inference_compute_input_duration_us", "Sum, reading and features.",
        [&](const auto& sum) { return microseconds(sum.seconds.input); });
  print("nv_inference_compute_infer_duration_us", "Sum, scoring.",
        [&](const auto& sum) { return microseconds(sum.seconds.infer); });
  print("nv_inference_compute_output_duration_us", "Sum, writing the reply.",
        [&](const auto& sum) { return microseconds(sum.seconds.output); });
}

void Metrics::count_upsert(int code) {
  const std::scoped_lock lock(mutex_);
  ++upserts_[fmt::format("code=\"{}\"", code)];
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
    head("uniscale_item_upserts_total", "counter", "Upserts of fresh items by HTTP code.");
    for (const auto& [labels, count] : upserts_)
      out += fmt::format("uniscale_item_upserts_total{{{}}} {}\n", labels, count);
    head("uniscale_feature_missing_total", "counter", "Rows that a feature had no value for.");
    for (const auto& [labels, count] : missing_features_)
      out += fmt::format("uniscale_feature_missing_total{{{}}} {}\n", labels, count);
    print_inferences(out);
    head("uniscale_model_info", "gauge", "The version that serves.");
    for (const auto& [model, version] : models_)
      out += fmt::format("uniscale_model_info{{model=\"{}\",version=\"{}\"}} 1\n", model, version);
  }
  head("uniscale_candidates", "counter", "Candidates scored.");
  out += fmt::format("uniscale_candidates {}\n", candidates.load());
  head("uniscale_unknown_ids_total", "counter", "Ids that the bundle's tables do not know.");
  out += fmt::format("uniscale_unknown_ids_total{{table=\"users\"}} {}\n", missing_users_.load());
  out += fmt::format("uniscale_unknown_ids_total{{table=\"items\"}} {}\n", missing_items_.load());
  head("uniscale_unknown_features_total", "counter",
       "Feature names that the model does not read (not strict).");
  out += fmt::format("uniscale_unknown_features_total {}\n", unknown_features.load());
  head("uniscale_rank_log_lines_total", "counter", "Lines handed to the rank log.");
  out += fmt::format("uniscale_rank_log_lines_total {}\n", rank_log_lines.load());
  head("uniscale_rank_log_dropped_total", "counter", "Lines that the rank log could not take or write.");
  out += fmt::format("uniscale_rank_log_dropped_total {}\n", rank_log_dropped.load());
  head("uniscale_fresh_items", "gauge", "Items that lie over the bundles' tables.");
  out += fmt::format("uniscale_fresh_items {}\n", fresh_items.load());
  head("uniscale_items_log_bytes", "gauge", "Size of the items log.");
  out += fmt::format("uniscale_items_log_bytes {}\n", items_log_bytes.load());
  head("uniscale_items_log_torn_bytes", "gauge", "Bytes of an unfinished record that the start cut off.");
  out += fmt::format("uniscale_items_log_torn_bytes {}\n", items_log_torn_bytes.load());
  head("uniscale_items_log_damaged_records", "gauge", "Bad records that the start passed over.");
  out += fmt::format("uniscale_items_log_damaged_records {}\n", items_log_damaged.load());
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
