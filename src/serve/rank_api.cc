#include "serve/rank_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "serve/skim.h"

namespace uniscale::serve {
namespace {

// What the API has beside the raw request.
struct Wanted {
  int64_t deadline_ms = 0;  // 0: none
  int64_t top_k = -1;       // −1: all
  bool scores = true, order = true, heads = false, stages = false;
};

int64_t whole_deadline_ms(double deadline_ms) {
  return std::max<int64_t>(1, static_cast<int64_t>(deadline_ms));
}

Wanted read_wanted(const json::Value& body, const Options& options) {
  Wanted wanted;
  wanted.deadline_ms = options.default_deadline.ms;
  if (const auto it = body.find("deadline_ms"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_number() && it->get<double>() > 0 && it->get<double>() <= kMaxDeadlineMs,
               "deadline_ms: expected a positive number of milliseconds");
    wanted.deadline_ms = whole_deadline_ms(it->get<double>());
  }
  if (const auto it = body.find("top_k"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_number_integer() && it->get<int64_t>() >= 0,
               "top_k: expected a whole number of at least 0");
    wanted.top_k = it->get<int64_t>();
  }
  if (const auto it = body.find("return"); it != body.end() && !it->is_null()) {
    US_REQUIRE(it->is_array(), "return: expected an array of \"scores\", \"order\", \"heads\", \"stages\"");
    wanted.scores = wanted.order = wanted.heads = wanted.stages = false;
    for (const json::Value& one : *it) {
      bool* part = one == "scores"   ? &wanted.scores
                   : one == "order"  ? &wanted.order
                   : one == "heads"  ? &wanted.heads
                   : one == "stages" ? &wanted.stages
                                     : nullptr;
      US_REQUIRE(part != nullptr,
                 "return: expected \"scores\", \"order\", \"heads\" or \"stages\", got " + one.dump());
      *part = true;
    }
  }
  return wanted;
}

std::string quoted(const std::string& text) { return json::dump(json::Value(text), -1); }

std::string rank_reply(const Ranking& ranking, const Wanted& wanted) {
  const ServedModel& model = ranking.model;
  std::string out = fmt::format(R"({{"request_id":{},"model":"{}","version":"{}","took_ms":)",
                                quoted(ranking.request.request_id), model.name, model.version);
  const double took_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - ranking.received).count();
  append_number(std::round(took_ms * 1e3) * 1e-3, out);
  if (wanted.scores) {
    out += ",\"scores\":";
    append_numbers(ranking.scores, out);
  }
  if (wanted.order) {
    out += ",\"order\":";
    append_integers(ranking.order(wanted.top_k), out);
  }
  if (wanted.heads) {
    out += ",\"heads\":{";
    for (size_t h = 0; h < ranking.heads.size(); ++h) {
      out += fmt::format("{}\"{}\":", h > 0 ? "," : "", model.ranker->heads()[h]);
      append_numbers(ranking.heads[h], out);
    }
    out += '}';
  }
  if (wanted.stages) {
    const Ranking::Seconds& seconds = ranking.seconds;
    out += fmt::format(R"(,"stages_ms":{{"queue":{:.4f},"parse":{:.4f},"features":{:.4f},"score":{:.4f}}})",
                       seconds.queue * 1e3, seconds.parse * 1e3, seconds.features * 1e3, seconds.score * 1e3);
  }
  out += fmt::format(R"(,"missing":{{"user":{},"items":)", ranking.missing.user ? "true" : "false");
  append_integers(ranking.missing.items, out);
  out += "},\"degraded\":null}";
  return out;
}

void rank(RankEngine& engine, const HttpRequest& request, const std::string& name,
          const ReplyFunction& reply) {
  if (!is_json_type(request.content_type)) {
    return reply(error_reply(415, "unsupported_media_type", "expected Content-Type: application/json"));
  }
  const Skim seen = skim(request.body, "items.ids");
  auto wanted = std::make_shared<Wanted>();
  RankTask task{.model = engine.model(name, query_value(request, "version")),
                .received = request.received,
                .client = request.client,
                .request_id = seen.request_id,
                .candidates = seen.num_items};
  task.deadline_ms = seen.deadline_ms > 0 && seen.deadline_ms <= kMaxDeadlineMs
                         ? whole_deadline_ms(seen.deadline_ms)
                         : engine.options().default_deadline.ms;
  task.read = [&engine, wanted, model = task.model, text = request.body] {
    const json::Value body = json::parse(text, "body");
    US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
    RankInput input;
    input.request = runtime::raw_request_from_json(body, model->ranker->spec().search_domain(), "body");
    *wanted = read_wanted(body, engine.options());
    input.deadline_ms = wanted->deadline_ms;
    input.top_k = wanted->top_k;
    return input;
  };
  task.ranked = [wanted, reply](const Ranking& ranking) -> std::function<void()> {
    return [reply, body = rank_reply(ranking, *wanted)]() mutable { reply({.body = std::move(body)}); };
  };
  task.refused = refuse_with(reply);
  engine.submit(std::move(task));
}

template <class Values>
void append_all(const Values& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_number(static_cast<double>(values[i]), out);
  }
  out += ']';
}

}  // namespace

bool is_json_type(std::string_view content_type) {
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

void append_number(double value, std::string& out) {
  US_CHECK(std::isfinite(value), "a score that is not finite");
  out += json::number_text(value);
}

void append_numbers(const std::vector<double>& values, std::string& out) { append_all(values, out); }
void append_numbers(const std::vector<float>& values, std::string& out) { append_all(values, out); }

void append_integers(const std::vector<int32_t>& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), "{}", values[i]);
  }
  out += ']';
}

std::function<void(const Refusal&, const std::string&)> refuse_with(const ReplyFunction& reply) {
  return [reply](const Refusal& refusal, const std::string& request_id) {
    reply(error_reply(refusal.status, refusal.code, refusal.text, request_id));
  };
}

void add_rank_routes(Router& router, RankEngine& engine) {
  router.add("POST", "/v1/rank/{model}",
             [&engine](const HttpRequest& request, const PathValues& values, const ReplyFunction& reply) {
               rank(engine, request, values[0], reply);
             });
}

}  // namespace uniscale::serve
