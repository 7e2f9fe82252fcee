#include "gateway/gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/time.h"
#include "gateway/detail/http_client.h"
#include "gateway/headers.h"
#include "gateway/search.h"
#include "serve/log.h"
#include "serve/metrics.h"

namespace uniscale::gateway {
namespace {

using detail::ClientReply;
using detail::HttpClient;
using serve::HttpReply;
using serve::HttpRequest;
using serve::ReplyFunction;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMaxRankReplyBytes = 16 << 20;

// Headers of one connection, which a proxy does not hand on (RFC 9110 §7.6.1), and those that are set anew.
bool is_own_header(const std::string& name) {
  static const std::set<std::string> kOwn = {
      "connection", "keep-alive",       "proxy-authenticate",  "te",   "trailer",        "transfer-encoding",
      "upgrade",    "proxy-connection", "proxy-authorization", "host", "content-length", "expect"};
  return kOwn.count(name) > 0 || name.starts_with("x-uniscale");
}

serve::HttpHeaders handed_on(const serve::HttpHeaders& headers, const std::set<std::string>& without) {
  serve::HttpHeaders out;
  for (const auto& [name, value] : headers)
    if (const std::string key = lower_name(name); !is_own_header(key) && without.count(key) == 0)
      out.emplace_back(name, value);
  return out;
}

// The engine's reply as ours; `done` says what the gateway did.
HttpReply reply_of(ClientReply from, const std::string& done) {
  HttpReply out{.status = from.status, .content_type = "", .body = std::move(from.body)};
  for (const auto& [name, value] : from.headers) {
    const std::string key = lower_name(name);
    if (key == "content-type")
      out.content_type = value;
    else if (!is_own_header(key) && key != "server")
      out.headers.emplace_back(name, value);
  }
  if (out.content_type.empty()) out.content_type = "application/octet-stream";
  out.headers.emplace_back("X-Uniscale", done);
  return out;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Ranking {
  std::string version;
  std::vector<double> scores;  // by hit
  std::vector<int64_t> order;  // places of the ranked hits, best first
};

// Throws UserError if it is not what a ranking of `num_items` must be.
Ranking read_ranking(const std::string& body, size_t num_items) {
  const json::Value value = json::parse(body, "reply of the ranking server");
  constexpr const char* kWhere = "reply of the ranking server";
  Ranking out;
  out.version = json::string_member(value, "version", kWhere);
  for (const json::Value& one : json::member(value, "scores", kWhere))
    out.scores.push_back(one.is_number() ? one.get<double>() : 0.0);
  std::vector<bool> seen(num_items);
  for (const json::Value& one : json::member(value, "order", kWhere)) {
    const int64_t place = one.is_number_integer() ? one.get<int64_t>() : -1;
    US_REQUIRE(place >= 0 && place < static_cast<int64_t>(num_items) && !seen[static_cast<size_t>(place)],
               fmt::format("{}: order: expected each of {} places once", kWhere, num_items));
    seen[static_cast<size_t>(place)] = true;
    out.order.push_back(place);
  }
  US_REQUIRE(out.order.size() == num_items && out.scores.size() == num_items,
             fmt::format("{}: expected {} scores and places, got {} and {}", kWhere, num_items,
                         out.scores.size(), out.order.size()));
  return out;
}

// A search between its first call and its reply.
struct Job {
  HttpRequest request;
  Search search;
  ReplyFunction reply;
  ClientReply engine;  // of the widened search, without its body
  Answer answer;
  Clock::time_point begin = Clock::now();
};

}  // namespace

struct Gateway::Impl {
  Impl(const Options& the_options, serve::RankLog* the_log)
      : options(the_options),
        log(the_log),
        engine(context, parse_url(options.upstream, "gateway.upstream"), options.max_reply_bytes,
               {options.ca_file, options.verify_tls}),
        server(context, parse_url(options.server, "gateway.server"), kMaxRankReplyBytes,
               {options.ca_file, options.verify_tls}),
        work(context.get_executor()),
        thread([this] { context.run(); }) {}
  ~Impl() { stop(); }

  void stop() {
    context.stop();
    if (thread.joinable()) thread.join();
  }

  void count(const char* outcome, const std::string& reason) {
    const std::scoped_lock lock(mutex);
    ++outcomes[{outcome, reason}];
  }

  // The request as it came.
  void pass(const HttpRequest& request, const std::string& done, ReplyFunction reply) {
    engine.send({.method = request.method,
                 .target = request.target,
                 .headers = handed_on(request.headers, {}),
                 .body = request.body,
                 .timeout_ms = options.engine_timeout.ms},
                [this, done, reply = std::move(reply)](ClientReply from) {
                  if (from.error.empty()) return reply(reply_of(std::move(from), done));
                  count("engine_error", from.error == "timeout" ? "timeout" : "unreachable");
                  const bool late = from.error == "timeout";
                  reply(serve::error_reply(late ? 504 : 502, late ? "engine_timeout" : "engine_unreachable",
                                           "the search engine: " + from.error));
                });
  }

  void search(Job job) {
    auto shared = std::make_shared<Job>(std::move(job));
    engine.send({.method = shared->request.method,
                 .target = shared->search.target,
                 // What is not packed can be read.
                 .headers = handed_on(shared->request.headers, {"accept-encoding"}),
                 .body = shared->search.body,
                 .timeout_ms = options.engine_timeout.ms},
                [this, shared](ClientReply from) { answered(shared, std::move(from)); });
  }

  // The widened search gave no hits that can be ranked: the client's own search, once more.
  void search_again(const std::shared_ptr<Job>& job, const std::string& why) {
    count("failed_open", why);
    pass(job->request, "failed open: " + why, std::move(job->reply));
  }

  void answered(const std::shared_ptr<Job>& job, ClientReply from) {
    engine_duration.observe(seconds_since(job->begin));
    if (from.error == "timeout") {
      count("engine_error", "timeout");
      return job->reply(serve::error_reply(504, "engine_timeout", "the search engine: timeout"));
    }
    if (!from.error.empty()) return search_again(job, "engine connection");
    if (from.status != 200) return search_again(job, fmt::format("engine status {}", from.status));
    try {
      job->answer = read_answer(std::move(from.body), options);
    } catch (const base::UserError& error) {
      serve::log_event("warning", "engine_answer", {{"error", base::full_message(error)}});
      return search_again(job, "engine answer");
    }
    job->engine = std::move(from);
    job->engine.body.clear();
    if (job->search.request_id.empty() && log != nullptr) job->search.request_id = log->new_request_id();
    if (job->answer.hits.empty()) return finish(job, {}, "ranked");
    rank(job);
  }

  size_t num_ranked(const Job& job) const {
    return std::min(job.answer.hits.size(), static_cast<size_t>(options.depth));
  }

  void rank(const std::shared_ptr<Job>& job) {
    const size_t count_ranked = num_ranked(*job);
    json::Value ids = json::Value::array(), features = json::Value::object();
    for (size_t i = 0; i < count_ranked; ++i) {
      ids.push_back(job->answer.hits[i].item_id);
      for (const auto& [name, where] : options.features)
        features[name].push_back(job->answer.hits[i].features[name]);
    }
    json::Value body = {{"deadline_ms", options.deadline.ms},
                        {"query", {{"text", job->search.query}}},
                        {"items", {{"ids", std::move(ids)}, {"features", std::move(features)}}},
                        {"return", {"scores", "order"}}};
    if (!job->search.request_id.empty()) body["request_id"] = job->search.request_id;
    if (!job->search.user_id.empty()) body["user"] = {{"id", job->search.user_id}};
    std::string text;
    try {
      text = json::dump(body, -1);
    } catch (const std::exception&) {  // bytes that are no UTF-8, from a form
      return fail_open(job, "request text");
    }
    const auto begin = Clock::now();
    server.send({.method = "POST",
                 .target = "/v1/rank/" + options.model,
                 .headers = {{"Content-Type", "application/json"}},
                 .body = std::move(text),
                 .timeout_ms = options.deadline.ms},
                [this, job, begin, count_ranked](const ClientReply& from) {
                  rank_duration.observe(seconds_since(begin));
                  if (!from.error.empty())
                    return fail_open(job, from.error == "timeout" ? "late" : "server unreachable");
                  if (from.status != 200) return fail_open(job, fmt::format("server status {}", from.status));
                  try {
                    finish(job, read_ranking(from.body, count_ranked), "ranked");
                  } catch (const base::UserError& error) {
                    serve::log_event("warning", "rank_reply", {{"error", base::full_message(error)}});
                    fail_open(job, "server reply");
                  }
                });
  }

  void fail_open(const std::shared_ptr<Job>& job, const std::string& why) {
    finish(job, {}, "failed open: " + why);
  }

  // The page in the ranking's order, or in the engine's if there is none.
  void finish(const std::shared_ptr<Job>& job, std::optional<Ranking> ranking, const std::string& done) {
    std::vector<int64_t> order(job->answer.hits.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    if (ranking) std::copy(ranking->order.begin(), ranking->order.end(), order.begin());
    job->engine.body = page_of(job->answer, job->search, order);
    const bool failed = done.starts_with("failed open");
    count(failed ? "failed_open" : "ranked", failed ? done.substr(done.find(": ") + 2) : "");
    if (log != nullptr) write_log(*job, ranking, order);
    job->reply(reply_of(std::move(job->engine), done));
  }

  // A line of ⓪: every candidate, the engine's score, ours, and the place where it was shown.
  void write_log(const Job& job, const std::optional<Ranking>& ranking, const std::vector<int64_t>& order) {
    std::vector<json::Value> positions(order.size(), json::Value(nullptr));
    const int64_t end =
        std::min<int64_t>(job.search.first + job.search.size, static_cast<int64_t>(order.size()));
    for (int64_t i = job.search.first; i < end; ++i)
      positions[static_cast<size_t>(order[static_cast<size_t>(i)])] = i + 1;
    json::Value candidates = json::Value::array();
    for (size_t i = 0; i < job.answer.hits.size(); ++i) {
      const Hit& hit = job.answer.hits[i];
      json::Value one = {{"item_id", hit.item_id}, {"position", positions[i]}};
      for (const auto& [name, value] : hit.features.items()) one[name] = value;
      if (hit.score) one["score"] = *hit.score;
      if (ranking && i < ranking->scores.size()) one["served_score"] = ranking->scores[i];
      candidates.push_back(std::move(one));
    }
    json::Value line = {
        {"request_id", job.search.request_id},
        {"domain", options.domain},
        {"ts_ms", base::now_ms()},
        {"user_id", job.search.user_id.empty() ? json::Value(nullptr) : json::Value(job.search.user_id)},
        {"query", job.search.query},
        {"model", options.model},
        {"version", ranking ? json::Value(ranking->version) : json::Value(nullptr)},
        {"candidates", std::move(candidates)}};
    try {
      log->write_line(json::dump(line, -1) + "\n");
    } catch (const std::exception& error) {
      serve::log_event("warning", "rank_log", {{"error", base::full_message(error)}});
    }
  }

  std::string metrics_text() {
    std::string out = "# TYPE uniscale_gateway_searches_total counter\n";
    {
      const std::scoped_lock lock(mutex);
      for (const auto& [key, number] : outcomes)
        out += fmt::format("uniscale_gateway_searches_total{{outcome=\"{}\",reason=\"{}\"}} {}\n", key.first,
                           key.second, number);
    }
    for (const auto& [name, histogram] :
         {std::pair{"uniscale_gateway_engine_duration_seconds", &engine_duration},
          std::pair{"uniscale_gateway_rank_duration_seconds", &rank_duration}}) {
      out += fmt::format("# TYPE {} histogram\n", name);
      histogram->print(name, "", out);
    }
    return out;
  }

  const Options options;
  serve::RankLog* const log;
  std::atomic<bool> draining{false};
  std::mutex mutex;
  std::map<std::pair<std::string, std::string>, uint64_t> outcomes;
  serve::Histogram engine_duration, rank_duration;
  boost::asio::io_context context{1};
  HttpClient engine, server;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  std::thread thread;
};

Gateway::Gateway(const Options& options, serve::RankLog* log) {
  check_options(options);
  impl_ = std::make_unique<Impl>(options, log);
}
Gateway::~Gateway() = default;
void Gateway::begin_draining() { impl_->draining = true; }
void Gateway::shut_down() { impl_->stop(); }

void Gateway::handle(const HttpRequest& request, ReplyFunction reply) {
  Reading reading = read_search(request, impl_->options);
  if (!reading.search) {
    impl_->count("passed", reading.pass_because);
    return impl_->pass(request, "passed: " + reading.pass_because, std::move(reply));
  }
  impl_->search({.request = request, .search = std::move(*reading.search), .reply = std::move(reply)});
}

void Gateway::handle_admin(const HttpRequest& request, ReplyFunction reply) {
  if (request.target == "/metrics")
    return reply({.content_type = "text/plain; version=0.0.4", .body = impl_->metrics_text()});
  if (request.target == "/live") return reply({.body = R"({"live":true})"});
  if (request.target == "/ready") {
    if (impl_->draining) return reply({.status = 503, .body = R"({"ready":false})"});
    return reply({.body = R"({"ready":true})"});
  }
  reply(serve::error_reply(404, "not_found", "expected /metrics, /live or /ready"));
}

}  // namespace uniscale::gateway
