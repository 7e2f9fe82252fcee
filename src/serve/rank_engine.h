// Every door's way to scores: limits, admission, the scoring threads, deadlines, counting. A door (rank API,
// OIP, gRPC …) says how its request is read and how the result is written; both run on a scoring thread.
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bundle/fresh_items.h"
#include "runtime/raw_request.h"
#include "serve/http_message.h"
#include "serve/metrics.h"
#include "serve/model_set.h"
#include "serve/options.h"
#include "serve/scheduler.h"

namespace uniscale::serve {

// A scored request; candidates in the order of the request.
struct Ranking {
  const ServedModel& model;
  const runtime::RawRequest& request;
  const feature::RequestBatch& batch;
  const std::vector<double>& scores;             // Π head^exponent
  const std::vector<std::vector<float>>& heads;  // [head][candidate]
  const runtime::MissingReport& missing;
  TimePoint received;
  int64_t top_k = -1;  // that the client wants; −1: all
  struct Seconds {
    double queue = 0, parse = 0, features = 0, score = 0;
  } seconds = {};
  // Places of the candidates, best first, ties in the order of the request; all if `at_most` is negative.
  std::vector<int32_t> order(int64_t at_most = -1) const;
};

struct RankInput {
  runtime::RawRequest request;
  int64_t deadline_ms = 0;  // from the last byte on; 0: none
  int64_t top_k = -1;       // for the rank log; −1: all
};

struct RankTask {
  std::shared_ptr<const ServedModel> model;
  TimePoint received;
  std::string client;      // address, for the limit by client; empty: not counted
  std::string request_id;  // as far as known before reading
  int64_t deadline_ms = 0;
  int64_t candidates = 0;
  bool is_logged = true;  // false: not a list that anybody was shown
  // Throws UserError (→ 400) or Refusal.
  std::function<RankInput()> read;
  // Exactly one of the two is called, once. `ranked` writes the reply and returns what sends it; an exception
  // out of it becomes refused(500).
  std::function<std::function<void()>(const Ranking&)> ranked;
  std::function<void(const Refusal&, const std::string& request_id)> refused;
};

// Called for every served request, after its reply was sent: the rank log.
using RankObserver = std::function<void(const Ranking&)>;

class RankEngine {
 public:
  RankEngine(const Options& options, ModelSet& models, Metrics& metrics);
  ~RankEngine();
  RankEngine(const RankEngine&) = delete;
  RankEngine& operator=(const RankEngine&) = delete;

  // The model that serves now; throws Refusal 404.
  std::shared_ptr<const ServedModel> model(const std::string& name) const;
  // The same; `version` also the one kept before it, empty: the one that serves. Throws Refusal 404.
  std::shared_ptr<const ServedModel> model(const std::string& name, std::string_view version) const;
  // The one that a body's top-level "model" names; without one, the only one there is. Throws Refusal 404,
  // 400.
  std::shared_ptr<const ServedModel> model_named_in(std::string_view body) const;
  void submit(RankTask task);
  // From now on 503, also for what waits.
  void stop();
  // stop(), and no scoring thread runs when it returns.
  void shut_down();
  void set_observer(RankObserver observer) { observer_ = std::move(observer); }
  // Items that lie over every model's table; before the first request.
  void set_fresh_items(const bundle::FreshItemStore* items) { fresh_items_ = items; }
  const Options& options() const { return options_; }
  Metrics& metrics() { return metrics_; }

 private:
  friend class RankJob;
  struct Memory;  // of one request in flight
  std::unique_ptr<Memory> borrow_memory();
  void give_back(std::unique_ptr<Memory> memory);
  bool enter(const std::string& client);
  void leave(const std::string& client);

  const Options& options_;
  ModelSet& models_;
  Metrics& metrics_;
  RankObserver observer_;
  const bundle::FreshItemStore* fresh_items_ = nullptr;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Memory>> free_memory_;
  std::map<std::string, int64_t> in_flight_by_client_;
  Scheduler scheduler_;  // last: its threads use the rest
};

// 413 for too many ids, 400 for ids that are empty, long or hold a NUL.
void check_ids(const runtime::RawRequest& request, const Options& options);

}  // namespace uniscale::serve
