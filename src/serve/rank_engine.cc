#include "serve/rank_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/threads.h"
#include "serve/feature_missing.h"
#include "serve/log.h"
#include "serve/skim.h"

namespace uniscale::serve {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(TimePoint begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

TimePoint deadline_of(TimePoint received, int64_t deadline_ms) {
  return deadline_ms > 0 ? received + std::chrono::milliseconds(deadline_ms) : WorkQueue::kNoDeadline;
}

WorkQueue::Limits limits_of(const Options& options) {
  return {.num_workers = base::resolve_num_threads(options.threads),
          .max_work = options.max_in_flight,
          .max_candidates = options.max_queue_candidates,
          .chunk_candidates = kChunkCandidates};
}

runtime::Workspace& workspace() {
  thread_local runtime::Workspace instance;
  return instance;
}

runtime::Scores& chunk_scores() {
  thread_local runtime::Scores instance;
  return instance;
}

}  // namespace

struct RankEngine::Memory {
  feature::RequestBatch batch;
  runtime::RequestState state;
  runtime::MissingReport missing;
  std::vector<std::vector<float>> heads;
  std::vector<double> scores;
};

// read and features with the first chunk, the reply with the last.
class RankJob final : public Job {
 public:
  RankJob(RankEngine& engine, RankTask task) : engine_(engine), task_(std::move(task)) {
    deadline_ = deadline_of(task_.received, task_.deadline_ms);
  }

  Chunk run_chunk() override {
    Chunk chunk;
    const bool failed = !guard([&] {
      if (!input_) {
        queue_seconds_ = seconds_since(task_.received);
        prepare();
        engine_.metrics_.stage_parse.observe(parse_seconds_);
        engine_.metrics_.stage_features.observe(features_seconds_);
      }
      require_in_time();
      const auto total = static_cast<int32_t>(input_->request.item_ids.size());
      chunk.candidates = score_chunk(total);
      if (done_ < total) {
        chunk.left = total - done_;
        require_in_time();
      } else {
        engine_.metrics_.stage_score.observe(score_seconds_);
        require_in_time();
        answer();
      }
    });
    if (failed) chunk = {.candidates = chunk.candidates, .left = -1, .is_typical = chunk.candidates > 0};
    return chunk;
  }

  void give_up(Unserved why) override {
    refuse(why == Unserved::Late ? Refusal{504, "deadline_exceeded",
                                           fmt::format("the deadline of {} ms has passed", task_.deadline_ms)}
                                 : Refusal{503, "draining", "the server is shutting down"});
  }

  void refuse(const Refusal& refusal) {
    if (refusal.status == 429 || refusal.status == 503 || refusal.status == 504)
      engine_.metrics_.count_shed(refusal.code);
    count(refusal.status);
    task_.refused(refusal, task_.request_id);
  }

 private:
  // False if the request was refused.
  template <class Body>
  bool guard(const Body& body) {
    try {
      body();
      return true;
    } catch (const Refusal& refusal) {
      refuse(refusal);
    } catch (const base::UserError& error) {
      refuse({400, "invalid_request", base::full_message(error)});
    } catch (const std::exception& error) {
      log_event("error", "internal_error",
                {{"model", task_.model->name}, {"error", base::full_message(error)}});
      refuse({500, "internal_error", "internal error"});
    }
    give_memory_back();
    return false;
  }

  void prepare() {
    auto begin = Clock::now();
    input_ = task_.read();
    task_.request_id = input_->request.request_id;
    task_.deadline_ms = input_->deadline_ms;
    deadline_ = deadline_of(task_.received, task_.deadline_ms);
    check_ids(input_->request, engine_.options_);
    const auto& spec = task_.model->ranker->spec();
    US_REQUIRE(input_->request.domain == spec.search_domain(),
               fmt::format("context.domain: this server ranks \"{}\", got \"{}\"", spec.search_domain(),
                           input_->request.domain));
    parse_seconds_ = seconds_since(begin);
    require_in_time();
    begin = Clock::now();
    memory_ = engine_.borrow_memory();
    if (!engine_.options_.strict_features) engine_.metrics_.unknown_features += unknown_names();
    const auto fresh = engine_.fresh_items_ ? engine_.fresh_items_->state() : nullptr;
    runtime::to_batch(input_->request, spec, task_.model->sequences,
                      task_.model->items ? &*task_.model->items : nullptr,
                      task_.model->users ? &*task_.model->users : nullptr, engine_.options_.strict_features,
                      memory_->batch, memory_->missing, fresh.get());
    const size_t num_items = input_->request.item_ids.size();
    memory_->heads.resize(task_.model->ranker->heads().size());
    for (auto& head : memory_->heads) head.resize(num_items);
    features_seconds_ = seconds_since(begin);
  }

  // How many feature names of the request the model does not read.
  uint64_t unknown_names() const {
    runtime::RawRequest names;
    for (const auto& [name, value] : input_->request.user) names.user[name];
    for (const auto& [name, value] : input_->request.context) names.context[name];
    for (const auto& [name, values] : input_->request.items) names.items[name];
    const auto count = [&] { return names.user.size() + names.context.size() + names.items.size(); };
    const size_t all = count();
    runtime::keep_known(task_.model->ranker->spec(), names);
    return all - count();
  }

  // Scores the next candidates into `heads`; returns how many.
  int64_t score_chunk(int32_t total) {
    const auto begin = Clock::now();
    const int32_t end = std::min(total, done_ + static_cast<int32_t>(kChunkCandidates));
    const runtime::Ranker& ranker = *task_.model->ranker;
    runtime::Scores& scores = chunk_scores();
    if (done_ == 0) ranker.prepare(memory_->batch, workspace(), memory_->state);
    ranker.score_candidates(memory_->batch, memory_->state, done_, end, workspace(), scores);
    for (size_t h = 0; h < memory_->heads.size(); ++h)
      std::copy(scores.heads[h].begin(), scores.heads[h].end(), memory_->heads[h].begin() + done_);
    const int64_t count = end - done_;
    done_ = end;
    score_seconds_ += seconds_since(begin);
    return count;
  }

  void require_in_time() const {
    if (Clock::now() < deadline_) return;
    throw Refusal{504, "deadline_exceeded",
                  fmt::format("the deadline of {} ms has passed", task_.deadline_ms)};
  }

  void answer() {
    const auto begin = Clock::now();
    const size_t num_items = input_->request.item_ids.size();
    memory_->scores.assign(num_items, 1.0);
    for (size_t h = 0; h < memory_->heads.size(); ++h) {
      const double exponent = task_.model->head_exponents[h];
      if (exponent == 0) continue;
      for (size_t i = 0; i < num_items; ++i) {
        const double head = memory_->heads[h][i];
        memory_->scores[i] *= exponent == 1 ? head : std::pow(head, exponent);
      }
    }
    // Before sorting too: NaN has no order.
    for (double score : memory_->scores) US_CHECK(std::isfinite(score), "a score that is not finite");
    const auto missing = missing_features(task_.model->ranker->spec(), memory_->batch);
    const Ranking ranking{*task_.model,
                          input_->request,
                          memory_->batch,
                          memory_->scores,
                          memory_->heads,
                          memory_->missing,
                          task_.received,
                          input_->top_k,
                          {queue_seconds_, parse_seconds_, features_seconds_, score_seconds_}};
    const std::function<void()> send = task_.ranked(ranking);
    const double reply_seconds = seconds_since(begin);
    engine_.metrics_.stage_reply.observe(reply_seconds);
    engine_.metrics_.candidates += num_items;
    engine_.metrics_.count_missing(memory_->missing.user ? 1 : 0,
                                   static_cast<int64_t>(memory_->missing.items.size()), missing);
    engine_.metrics_.count_inference(task_.model->name, task_.model->version, static_cast<int64_t>(num_items),
                                     {.total = seconds_since(task_.received),
                                      .queue = queue_seconds_,
                                      .input = parse_seconds_ + features_seconds_,
                                      .infer = score_seconds_,
                                      .output = reply_seconds});
    count(200);
    send();
    try {
      if (engine_.observer_ && task_.is_logged) engine_.observer_(ranking);
    } catch (const std::exception& error) {
      log_event("error", "rank_log", {{"error", base::full_message(error)}});
    }
    give_memory_back();
  }

  void give_memory_back() {
    if (memory_) engine_.give_back(std::move(memory_));
  }

  void count(int status) {
    engine_.metrics_.count_request(task_.model->name, task_.model->version, status);
    engine_.metrics_.rank_duration.observe(seconds_since(task_.received));
    engine_.leave(task_.client);
  }

  RankEngine& engine_;
  RankTask task_;
  TimePoint deadline_;
  std::optional<RankInput> input_;
  std::unique_ptr<RankEngine::Memory> memory_;
  int32_t done_ = 0;
  double queue_seconds_ = 0, parse_seconds_ = 0, features_seconds_ = 0, score_seconds_ = 0;
};

std::vector<int32_t> Ranking::order(int64_t at_most) const {
  std::vector<int32_t> places(scores.size());
  std::iota(places.begin(), places.end(), 0);
  std::stable_sort(places.begin(), places.end(), [&](int32_t a, int32_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  if (at_most >= 0 && at_most < static_cast<int64_t>(places.size()))
    places.resize(static_cast<size_t>(at_most));
  return places;
}

void check_ids(const runtime::RawRequest& request, const Options& options) {
  const auto items = static_cast<int64_t>(request.item_ids.size());
  const int64_t limit = std::min(options.max_items, kHardMaxItems);
  if (items > limit) {
    throw Refusal{413, "too_many_items",
                  fmt::format("items.ids: expected at most {} ids, got {}", limit, items)};
  }
  const auto check = [](const std::string& id, const char* what) {
    US_REQUIRE(!id.empty() && static_cast<int64_t>(id.size()) <= kMaxIdBytes,
               fmt::format("{}: expected 1 … {} bytes, got {}", what, kMaxIdBytes, id.size()));
    US_REQUIRE(id.find('\0') == std::string::npos, fmt::format("{}: a NUL character", what));
  };
  for (const std::string& id : request.item_ids) check(id, "items.ids");
  if (request.user_id) check(*request.user_id, "user.id");
}

RankEngine::RankEngine(const Options& options, ModelSet& models, Metrics& metrics)
    : options_(options), models_(models), metrics_(metrics), scheduler_(limits_of(options), metrics) {}
RankEngine::~RankEngine() = default;

std::unique_ptr<RankEngine::Memory> RankEngine::borrow_memory() {
  const std::scoped_lock lock(mutex_);
  if (free_memory_.empty()) return std::make_unique<Memory>();
  auto memory = std::move(free_memory_.back());
  free_memory_.pop_back();
  return memory;
}

void RankEngine::give_back(std::unique_ptr<Memory> memory) {
  const std::scoped_lock lock(mutex_);
  // Few are in use at once: one a scoring thread, and the started long ones.
  constexpr size_t kMaxKept = 64;
  if (free_memory_.size() < kMaxKept) free_memory_.push_back(std::move(memory));
}

bool RankEngine::enter(const std::string& client) {
  ++metrics_.in_flight;
  if (client.empty() || options_.max_in_flight_per_client == 0) return true;
  const std::scoped_lock lock(mutex_);
  return ++in_flight_by_client_[client] <= options_.max_in_flight_per_client;
}

void RankEngine::leave(const std::string& client) {
  --metrics_.in_flight;
  if (client.empty() || options_.max_in_flight_per_client == 0) return;
  const std::scoped_lock lock(mutex_);
  const auto it = in_flight_by_client_.find(client);
  if (it != in_flight_by_client_.end() && --it->second == 0) in_flight_by_client_.erase(it);
}

std::shared_ptr<const ServedModel> RankEngine::model(const std::string& name) const {
  if (!bundle::is_model_name(name)) throw Refusal{404, "unknown_model", "no such model"};
  auto found = models_.find(name);
  if (!found) throw Refusal{404, "unknown_model", fmt::format("no model \"{}\"", name)};
  return found;
}

std::shared_ptr<const ServedModel> RankEngine::model(const std::string& name,
                                                     std::string_view version) const {
  auto serving = model(name);
  if (version.empty() || version == std::to_string(serving->version)) return serving;
  const auto kept = models_.previous(name);
  if (kept && version == std::to_string(kept->version)) return kept;
  const std::string beside = kept ? fmt::format(" and keeps version {}", kept->version) : "";
  throw Refusal{404, "unknown_version",
                fmt::format("model \"{}\" serves version {}{}", name, serving->version, beside)};
}

std::shared_ptr<const ServedModel> RankEngine::model_named_in(std::string_view body) const {
  const std::string name = skim(body, "").model;
  if (!name.empty()) return model(name);
  auto all = models_.all();
  if (all.size() == 1) return all[0];
  throw Refusal{400, "invalid_request", "body: model: expected the name of a model"};
}

void RankEngine::submit(RankTask task) {
  const Scheduler::Ticket ticket{.model = task.model->name,
                                 .candidates = std::clamp<int64_t>(task.candidates, 0, options_.max_items),
                                 .arrived = task.received,
                                 .deadline = deadline_of(task.received, task.deadline_ms)};
  const bool fits = enter(task.client);
  auto rank_job = std::make_unique<RankJob>(*this, std::move(task));
  if (!fits) return rank_job->refuse({429, "too_many_requests", "too many requests in flight of one client"});
  if (stopped_) return rank_job->give_up(Job::Unserved::Stopped);
  if (Clock::now() >= ticket.deadline) return rank_job->give_up(Job::Unserved::Late);
  std::unique_ptr<Job> job = std::move(rank_job);
  const Admission admission = scheduler_.submit(job, ticket);
  if (admission == Admission::Admitted) return;
  auto& refused = static_cast<RankJob&>(*job);
  if (admission == Admission::Full) return refused.refuse({503, "queue_full", "too many requests in flight"});
  refused.refuse({503, "predicted_late", "the queue is too long for the deadline"});
}

void RankEngine::stop() {
  stopped_ = true;
  scheduler_.drop_waiting();
}

void RankEngine::shut_down() {
  stopped_ = true;
  scheduler_.stop();
}

}  // namespace uniscale::serve
