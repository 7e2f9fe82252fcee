#include "serve/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "serve/log.h"

namespace uniscale::serve {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A failure with the status that it becomes.
struct Refusal {
  int status;
  std::string code;
  std::string text;
};

// What the API has beside the raw request.
struct Wanted {
  int64_t deadline_ms = 0;  // 0: none
  int64_t top_k = -1;       // −1: all
  bool scores = true, order = true, heads = false;
};

Wanted read_wanted(const json::Value& body, const Options& options) {
  Wanted wanted;
  wanted.deadline_ms = options.default_deadline.ms;
  if (const auto it = body.find("deadline_ms"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_number() && it->get<double>() > 0 && it->get<double>() <= 1e9,
               "deadline_ms: expected a positive number of milliseconds");
    wanted.deadline_ms = std::max<int64_t>(1, static_cast<int64_t>(it->get<double>()));
  }
  if (const auto it = body.find("top_k"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_number_integer() && it->get<int64_t>() >= 0,
               "top_k: expected a whole number of at least 0");
    wanted.top_k = it->get<int64_t>();
  }
  if (const auto it = body.find("return"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_array(), "return: expected an array of \"scores\", \"order\", \"heads\"");
    wanted = {.deadline_ms = wanted.deadline_ms,
              .top_k = wanted.top_k,
              .scores = false,
              .order = false,
              .heads = false};
    for (const json::Value& one : *it) {
      US_REQUIRE(one == "scores" || one == "order" || one == "heads",
                 "return: expected \"scores\", \"order\" or \"heads\", got " + one.dump());
      (one == "scores" ? wanted.scores : one == "order" ? wanted.order : wanted.heads) = true;
    }
  }
  return wanted;
}

void check_ids(const runtime::RawRequest& request, const Options& options) {
  const auto items = static_cast<int64_t>(request.item_ids.size());
  const int64_t limit = std::min(options.max_items, kHardMaxItems);
  if (items > limit)
    throw Refusal{413, "too_many_items",
                  fmt::format("items.ids: expected at most {} ids, got {}", limit, items)};
  const auto check = [](const std::string& id, const char* what) {
    US_REQUIRE(!id.empty() && static_cast<int64_t>(id.size()) <= kMaxIdBytes,
               fmt::format("{}: expected 1 … {} bytes, got {}", what, kMaxIdBytes, id.size()));
    US_REQUIRE(id.find('\0') == std::string::npos, fmt::format("{}: a NUL character", what));
  };
  for (const std::string& id : request.item_ids) check(id, "items.ids");
  if (request.user_id) check(*request.user_id, "user.id");
}

void append_number(double value, std::string& out) {
  US_CHECK(std::isfinite(value), "a score that is not finite");
  out += json::number_text(value);
}

template <class Values>
void append_numbers(const Values& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_number(static_cast<double>(values[i]), out);
  }
  out += ']';
}

template <class Values>
void append_integers(const Values& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) out += (i > 0 ? "," : "") + std::to_string(values[i]);
  out += ']';
}

// None, or application/json with or without parameters.
bool is_json(std::string_view content_type) {
  constexpr std::string_view kJson = "application/json";
  if (content_type.empty()) return true;
  if (content_type.size() < kJson.size()) return false;
  for (size_t i = 0; i < kJson.size(); ++i) {
    const char c = content_type[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kJson[i]) return false;
  }
  const std::string_view rest = content_type.substr(kJson.size());
  return rest.empty() || rest[0] == ';' || rest[0] == ' ';
}

std::string quoted(const std::string& text) { return json::dump(json::Value(text), -1); }

// Scratch of one serving thread.
struct Scratch {
  runtime::Workspace workspace;
  runtime::Scores scores;
  feature::RequestBatch batch;
  runtime::MissingReport missing;
};

Scratch& scratch() {
  thread_local Scratch instance;
  return instance;
}

}  // namespace

HttpReply error_reply(int status, const std::string& code, const std::string& text,
                      const std::string& request_id) {
  HttpReply reply{.status = status};
  json::Value body = {{"error", text}, {"code", code}, {"request_id", request_id}};
  reply.body = json::dump(body, -1);
  reply.retry_after = status == 503;
  return reply;
}

HttpReply Service::handle(const HttpRequest& request) {
  const bool get = request.method == "GET" || request.method == "HEAD";
  const auto only_get = [&](HttpReply reply) {
    return get ? std::move(reply) : error_reply(405, "method_not_allowed", "expected GET");
  };
  const std::string path = request.target.substr(0, request.target.find('?'));
  constexpr std::string_view kRank = "/v1/rank/", kModels = "/v2/models/", kReady = "/ready";
  try {
    if (path == "/v2/health/live") return only_get({.body = R"({"live":true})"});
    if (path == "/v2/health/ready") {
      const bool ready = models_.ready() && !draining_;
      return only_get(
          {.status = ready ? 200 : 503, .body = ready ? R"({"ready":true})" : R"({"ready":false})"});
    }
    if (path == "/v1/models") return only_get(list_models());
    if (path.starts_with(kModels) && path.ends_with(kReady) && path.size() > kModels.size() + kReady.size()) {
      return only_get(model_ready(path.substr(kModels.size(), path.size() - kModels.size() - kReady.size())));
    }
    if (path.starts_with(kRank)) {
      if (request.method != "POST") return error_reply(405, "method_not_allowed", "expected POST");
      return rank(path.substr(kRank.size()), request);
    }
    return error_reply(404, "not_found", "no such path");
  } catch (const std::exception& error) {
    log_event("error", "internal_error",
              {{"path", path.substr(0, 200)}, {"error", base::full_message(error)}});
    return error_reply(500, "internal_error", "internal error");
  }
}

HttpReply Service::list_models() const {
  json::Value models = json::Value::array();
  for (const auto& model : models_.all()) {
    models.push_back({{"name", model->name},
                      {"version", std::to_string(model->version)},
                      {"architecture", model->manifest.architecture},
                      {"heads", model->ranker->heads()}});
  }
  return {.body = json::dump({{"models", std::move(models)}}, -1)};
}

HttpReply Service::model_ready(const std::string& name) const {
  if (!bundle::is_model_name(name) || !models_.find(name))
    return error_reply(404, "unknown_model", "no such model");
  return {.status = draining_ ? 503 : 200,
          .body = fmt::format(R"({{"name":"{}","ready":{}}})", name, draining_ ? "false" : "true")};
}

HttpReply Service::rank(const std::string& model_name, const HttpRequest& request) {
  if (!bundle::is_model_name(model_name)) return error_reply(404, "unknown_model", "no such model");
  const auto model = models_.find(model_name);
  if (!model) return error_reply(404, "unknown_model", fmt::format("no model \"{}\"", model_name));
  const auto finish = [&](HttpReply reply) {
    metrics_.count_request(model->name, model->version, reply.status);
    metrics_.rank_duration.observe(seconds_since(request.received));
    return reply;
  };
  struct InFlight {
    explicit InFlight(std::atomic<int64_t>& c) : count(c), place(++c) {}
    ~InFlight() { --count; }
    std::atomic<int64_t>& count;
    int64_t place;
  } in_flight(metrics_.in_flight);
  if (in_flight.place > options_.max_in_flight) {
    metrics_.count_shed("full");
    return finish(error_reply(503, "overloaded", "too many requests in flight"));
  }
  if (!is_json(request.content_type)) {
    return finish(error_reply(415, "unsupported_media_type", "expected Content-Type: application/json"));
  }
  std::string request_id;
  try {
    auto begin = Clock::now();
    const json::Value body = json::parse(request.body, "body");
    US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
    const runtime::RawRequest raw =
        runtime::raw_request_from_json(body, model->ranker->spec().search_domain(), "body");
    request_id = raw.request_id;
    const Wanted wanted = read_wanted(body, options_);
    check_ids(raw, options_);
    US_REQUIRE(raw.domain == model->ranker->spec().search_domain(),
               fmt::format("context.domain: this server ranks \"{}\", got \"{}\"",
                           model->ranker->spec().search_domain(), raw.domain));
    metrics_.stage_parse.observe(seconds_since(begin));
    const auto require_in_time = [&] {
      if (wanted.deadline_ms > 0 &&
          seconds_since(request.received) * 1e3 > static_cast<double>(wanted.deadline_ms)) {
        throw Refusal{504, "deadline_exceeded",
                      fmt::format("the deadline of {} ms has passed", wanted.deadline_ms)};
      }
    };
    require_in_time();

    begin = Clock::now();
    Scratch& memory = scratch();
    runtime::to_batch(raw, model->ranker->spec(), model->sequences, model->items ? &*model->items : nullptr,
                      model->users ? &*model->users : nullptr, options_.strict_features, memory.batch,
                      memory.missing);
    metrics_.stage_features.observe(seconds_since(begin));
    begin = Clock::now();
    model->ranker->score(memory.batch, memory.workspace, memory.scores);
    metrics_.stage_score.observe(seconds_since(begin));
    require_in_time();

    begin = Clock::now();
    const size_t num_items = raw.item_ids.size();
    std::vector<double> scores(num_items, 1.0);
    for (size_t h = 0; h < memory.scores.heads.size(); ++h) {
      const double exponent = model->head_exponents[h];
      if (exponent == 0) continue;
      for (size_t i = 0; i < num_items; ++i)
        scores[i] *=
            exponent == 1 ? memory.scores.heads[h][i] : std::pow(memory.scores.heads[h][i], exponent);
    }
    // Before sorting too: NaN has no order.
    for (double score : scores) US_CHECK(std::isfinite(score), "a score that is not finite");
    metrics_.candidates += num_items;
    metrics_.count_missing(memory.missing.user ? 1 : 0, static_cast<int64_t>(memory.missing.items.size()));
    std::string out = fmt::format(R"({{"request_id":{},"model":"{}","version":"{}","took_ms":)",
                                  quoted(raw.request_id), model->name, model->version);
    append_number(std::round(seconds_since(request.received) * 1e6) * 1e-3, out);
    if (wanted.scores) {
      out += ",\"scores\":";
      append_numbers(scores, out);
    }
    if (wanted.order) {
      std::vector<int64_t> order(num_items);
      std::iota(order.begin(), order.end(), int64_t{0});
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
      });
      if (wanted.top_k >= 0 && wanted.top_k < static_cast<int64_t>(order.size()))
        order.resize(static_cast<size_t>(wanted.top_k));
      out += ",\"order\":";
      append_integers(order, out);
    }
    if (wanted.heads) {
      out += ",\"heads\":{";
      for (size_t h = 0; h < memory.scores.heads.size(); ++h) {
        out += fmt::format("{}\"{}\":", h > 0 ? "," : "", model->ranker->heads()[h]);
        append_numbers(memory.scores.heads[h], out);
      }
      out += '}';
    }
    out += fmt::format(R"(,"missing":{{"user":{},"items":)", memory.missing.user ? "true" : "false");
    append_integers(memory.missing.items, out);
    out += "},\"degraded\":null}";
    metrics_.stage_reply.observe(seconds_since(begin));
    return finish({.body = std::move(out)});
  } catch (const Refusal& refusal) {
    metrics_.count_shed(refusal.code);
    return finish(error_reply(refusal.status, refusal.code, refusal.text, request_id));
  } catch (const base::UserError& error) {
    return finish(error_reply(400, "invalid_request", base::full_message(error), request_id));
  } catch (const std::exception& error) {
    log_event("error", "internal_error", {{"model", model->name}, {"error", base::full_message(error)}});
    return finish(error_reply(500, "internal_error", "internal error", request_id));
  }
}

}  // namespace uniscale::serve
