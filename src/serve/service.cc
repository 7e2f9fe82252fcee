#include "serve/service.h"

#include <fmt/format.h>

#include <future>
#include <utility>

#include "serve/rank_api.h"

namespace uniscale::serve {

Service::Service(const Options& options, ModelSet& models, Metrics& metrics)
    : models_(models), engine_(options, models, metrics) {
  router_.add_plain("GET", "/v2/health/live", [](const HttpRequest&, const PathValues&) -> HttpReply {
    return {.body = R"({"live":true})"};
  });
  router_.add_plain("GET", "/v2/health/ready", [this](const HttpRequest&, const PathValues&) -> HttpReply {
    return {.status = is_ready() ? 200 : 503,
            .body = is_ready() ? R"({"ready":true})" : R"({"ready":false})"};
  });
  router_.add_plain("GET", "/v1/models",
                    [this](const HttpRequest&, const PathValues&) { return list_models(); });
  router_.add_plain("GET", "/v2/models/{model}/ready",
                    [this](const HttpRequest&, const PathValues& values) { return model_ready(values[0]); });
  add_rank_routes(router_, engine_);
}

void Service::handle(const HttpRequest& request, ReplyFunction reply) {
  if (!request.content_encoding.empty() && request.content_encoding != "identity") {
    return reply(error_reply(415, "unsupported_media_type", "expected a body without Content-Encoding"));
  }
  router_.handle(request, std::move(reply));
}

void Service::handle_admin(const HttpRequest& request, ReplyFunction reply) {
  if (admin_router_.has(request)) return admin_router_.handle(request, std::move(reply));
  handle(request, std::move(reply));
}

HttpReply Service::handle(const HttpRequest& request) {
  std::promise<HttpReply> promise;
  handle(request, [&promise](HttpReply reply) { promise.set_value(std::move(reply)); });
  return promise.get_future().get();
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

}  // namespace uniscale::serve
