// Counters and histograms, printed as Prometheus text (serving.md §6). Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace uniscale::serve {

class Histogram {
 public:
  // Bounds in base units; the last bucket is +Inf.
  static constexpr std::array<double, 14> kSecondBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                           0.1,    0.25,  0.5,    1,     2.5,  5,     10};
  void observe(double seconds);
  void print(const std::string& name, const std::string& labels, std::string& out) const;

 private:
  std::array<std::atomic<uint64_t>, kSecondBounds.size() + 1> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

class Metrics {
 public:
  void count_request(const std::string& model, int64_t version, int code);
  void count_shed(const std::string& reason);
  void count_load(const std::string& model, bool ok);
  // Ids that the bundle's tables do not know, and rows by feature without a value.
  void count_missing(int64_t users, int64_t items,
                     const std::vector<std::pair<std::string, int64_t>>& features);
  // A served request, for Triton's names.
  struct Seconds {
    double total = 0, queue = 0, input = 0, infer = 0, output = 0;
  };
  void count_inference(const std::string& model, int64_t version, int64_t candidates, const Seconds& seconds);
  // A POST /v1/items:upsert that was answered `code`.
  void count_upsert(int code);
  void set_model(const std::string& model, int64_t version);
  Histogram rank_duration, queue_duration, stage_parse, stage_features, stage_score, stage_reply;
  std::atomic<uint64_t> candidates{0}, unknown_features{0}, rank_log_lines{0}, rank_log_dropped{0};
  std::atomic<int64_t> in_flight{0}, queue_waiting{0}, queue_candidates{0};
  std::atomic<int64_t> fresh_items{0}, items_log_bytes{0}, items_log_torn_bytes{0}, items_log_damaged{0};
  std::string text() const;

 private:
  mutable std::mutex mutex_;
  struct Inferences {
    uint64_t success = 0, failure = 0, candidates = 0;
    Seconds seconds;
  };
  void print_inferences(std::string& out) const;
  std::map<std::string, uint64_t> upserts_, requests_, shed_, loads_, missing_features_;  // by label text
  std::map<std::string, Inferences> inferences_;
  std::map<std::string, int64_t> models_;
  std::atomic<uint64_t> missing_users_{0}, missing_items_{0};
};

}  // namespace uniscale::serve
