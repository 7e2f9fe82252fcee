#include "serve/explain_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "serve/explain_batch.h"
#include "serve/rank_api.h"
#include "serve/skim.h"

namespace uniscale::serve {
namespace {

double score_of(const ServedModel& model, const feature::RequestBatch& batch) {
  runtime::Workspace workspace;
  runtime::Scores scores;
  model.ranker->score(batch, workspace, scores);
  double score = 1;
  for (size_t h = 0; h < scores.heads.size(); ++h) {
    if (model.head_exponents[h] != 0)
      score *= std::pow(static_cast<double>(scores.heads[h][0]), model.head_exponents[h]);
  }
  return score;
}

std::string explain_reply(const Ranking& ranking, int32_t place) {
  const feature::FeatureSpec& spec = ranking.model.ranker->spec();
  feature::RequestBatch batch;
  struct Group {
    size_t token;
    double without;
  };
  std::vector<Group> groups;
  const double score = ranking.scores[static_cast<size_t>(place)];
  for (size_t t = 0; t < spec.tokens().size(); ++t) {
    explain_batch(ranking.batch, spec, place, static_cast<int>(t), batch);
    groups.push_back({t, score_of(ranking.model, batch)});
  }
  std::stable_sort(groups.begin(), groups.end(), [&](const Group& a, const Group& b) {
    return std::abs(score - a.without) > std::abs(score - b.without);
  });
  json::Value list = json::Value::array();
  for (const Group& group : groups) {
    const feature::Token& token = spec.tokens()[group.token];
    json::Value features = json::Value::array();
    for (int f : token.features) features.push_back(spec.features()[static_cast<size_t>(f)].name);
    list.push_back({{"group", token.name},
                    {"side", token.side == feature::Side::Request ? "request" : "candidate"},
                    {"features", std::move(features)},
                    {"score_without", group.without},
                    {"effect", score - group.without}});
  }
  json::Value heads = json::Value::object();
  for (size_t h = 0; h < ranking.heads.size(); ++h)
    heads[ranking.model.ranker->heads()[h]] = ranking.heads[h][static_cast<size_t>(place)];
  return json::dump({{"request_id", ranking.request.request_id},
                     {"model", ranking.model.name},
                     {"version", std::to_string(ranking.model.version)},
                     {"item", place},
                     {"item_id", ranking.request.item_ids[static_cast<size_t>(place)]},
                     {"score", score},
                     {"heads", std::move(heads)},
                     {"groups", std::move(list)}},
                    -1);
}

}  // namespace

void add_explain_routes(Router& router, RankEngine& engine) {
  router.add(
      "POST", "/v1/explain",
      [&engine](const HttpRequest& request, const PathValues&, const ReplyFunction& reply) {
        if (!is_json_type(request.content_type))
          return reply(error_reply(415, "unsupported_media_type", "expected Content-Type: application/json"));
        const Skim seen = skim(request.body, "items.ids");
        RankTask task{.model = engine.model_named_in(request.body),
                      .received = request.received,
                      .client = request.client,
                      .request_id = seen.request_id,
                      .deadline_ms = engine.options().default_deadline.ms};
        task.model = engine.model(task.model->name, query_value(request, "version"));
        task.candidates = seen.num_items + static_cast<int64_t>(task.model->ranker->spec().tokens().size());
        task.is_logged = false;
        auto place = std::make_shared<int32_t>(0);
        task.read = [place, model = task.model, text = request.body, deadline_ms = task.deadline_ms] {
          const json::Value body = json::parse(text, "body");
          RankInput input{
              .request = runtime::raw_request_from_json(body, model->ranker->spec().search_domain(), "body"),
              .deadline_ms = deadline_ms};
          int64_t wanted = 0;
          if (const auto it = body.find("item"); it != body.end() && !it->is_null())
            wanted = json::int_member(body, "item", "body");
          const auto num_items = static_cast<int64_t>(input.request.item_ids.size());
          US_REQUIRE(0 <= wanted && wanted < num_items,
                     fmt::format("body: item: expected a place in items.ids (0 … {}), got {}", num_items - 1,
                                 wanted));
          *place = static_cast<int32_t>(wanted);
          return input;
        };
        task.ranked = [place, reply](const Ranking& ranking) -> std::function<void()> {
          return
              [reply, body = explain_reply(ranking, *place)]() mutable { reply({.body = std::move(body)}); };
        };
        task.refused = refuse_with(reply);
        engine.submit(std::move(task));
      });
}

}  // namespace uniscale::serve
