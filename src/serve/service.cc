#include "serve/service.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/error.h"
#include "serve/compression.h"
#include "serve/explain_api.h"
#include "serve/log.h"
#include "serve/oip.h"
#include "serve/oip_http.h"
#include "serve/rank_api.h"
#include "serve/rerank_api.h"
#include "serve/ui_api.h"

namespace uniscale::serve {

Service::Service(const Options& options, ModelSet& models, Metrics& metrics)
    : options_(options),
      models_(models),
      items_(options, models, metrics),
      engine_(options, models, metrics) {
  router_.add_plain("GET", "/v2/health/live", [](const HttpRequest&, const PathValues&) -> HttpReply {
    return {.body = R"({"live":true})"};
  });
  router_.add_plain("GET", "/v2/health/ready", [this](const HttpRequest&, const PathValues&) -> HttpReply {
    return {.status = is_ready() ? 200 : 503,
            .body = is_ready() ? R"({"ready":true})" : R"({"ready":false})"};
  });
  router_.add_plain("GET", "/v1/models",
                    [this](const HttpRequest&, const PathValues&) { return list_models(); });
  router_.add_plain("GET", "/v2/models/{model}/ready", [this](const HttpRequest&, const PathValues& values) {
    return model_ready(values[0], "");
  });
  router_.add_plain(
      "GET", "/v2/models/{model}/versions/{version}/ready",
      [this](const HttpRequest&, const PathValues& values) { return model_ready(values[0], values[1]); });
  add_rank_routes(router_, engine_);
  add_rerank_routes(router_, engine_);
  add_explain_routes(router_, engine_);
  add_oip_routes(router_, engine_, models_);
  engine_.set_fresh_items(&items_.items());
  router_.add("POST", "/v1/items:upsert",
              [this](const HttpRequest& request, const PathValues&, const ReplyFunction& reply) {
                items_.upsert(request, reply);
              });
  if (options.ui) add_ui_routes(router_, engine_, items_.items());
  admin_router_.add("POST", "/v1/models/{model}:load",
                    [this](const HttpRequest&, const PathValues& values, const ReplyFunction& reply) {
                      load_model(values[0], reply);
                    });
}

void Service::handle(const HttpRequest& request, ReplyFunction reply) {
  handle_with(router_, request, reply);
}

void Service::handle_with(const Router& router, const HttpRequest& request, const ReplyFunction& reply) {
  if (request.content_encoding.empty() || request.content_encoding == "identity")
    return router.handle(request, reply);
  HttpRequest unpacked = request;
  try {
    unpacked.body = unpack(request.body, request.content_encoding, options_.max_body_bytes);
  } catch (const Refusal& refusal) {
    return reply(error_reply(refusal.status, refusal.code, refusal.text));
  }
  router.handle(unpacked, reply);
}

void Service::handle_admin(const HttpRequest& request, ReplyFunction reply) {
  if (admin_router_.has(request)) return handle_with(admin_router_, request, reply);
  handle_with(router_, request, reply);
}

HttpReply Service::handle(const HttpRequest& request) {
  std::promise<HttpReply> promise;
  handle(request, [&promise](HttpReply reply) { promise.set_value(std::move(reply)); });
  return promise.get_future().get();
}

void Service::begin_draining() {
  draining_ = true;
  const std::scoped_lock lock(draining_mutex_);
  if (on_draining_) on_draining_();
}

void Service::set_on_draining(std::function<void()> callback) {
  const std::scoped_lock lock(draining_mutex_);
  on_draining_ = std::move(callback);
}

HttpReply Service::list_models() const {
  json::Value models = json::Value::array();
  for (const auto& model : models_.all()) {
    json::Value versions = json::Value::array({std::to_string(model->version)});
    if (const auto kept = models_.previous(model->name)) versions.push_back(std::to_string(kept->version));
    models.push_back({{"name", model->name},
                      {"version", std::to_string(model->version)},
                      {"versions", std::move(versions)},
                      {"architecture", model->manifest.architecture},
                      {"precision", std::string(runtime::precision_name(model->ranker->precision()))},
                      {"heads", model->ranker->heads()}});
  }
  return {.body = json::dump({{"models", std::move(models)}}, -1)};
}

HttpReply Service::model_ready(const std::string& name, const std::string& version) const {
  engine_.model(name, version);
  return {.status = draining_ ? 503 : 200,
          .body = fmt::format(R"({{"name":"{}","ready":{}}})", name, draining_ ? "false" : "true")};
}

// Loading takes seconds: on a thread of its own, one at a time.
void Service::load_model(const std::string& name, const ReplyFunction& reply) {
  if (!bundle::is_model_name(name)) return reply(error_reply(404, "unknown_model", "no such model"));
  if (is_loading_.exchange(true)) return reply(error_reply(409, "loading", "another load is under way"));
  const std::scoped_lock lock(load_mutex_);
  loading_ = std::async(std::launch::async, [this, name, reply] {
    HttpReply out;
    try {
      const int64_t version = models_.load_current(name);
      out.body = fmt::format(R"({{"model":"{}","version":"{}","state":"READY"}})", name, version);
    } catch (const base::NotReadyError& error) {
      out = error_reply(404, "unknown_model", base::full_message(error));
    } catch (const base::UserError& error) {
      out = error_reply(422, "bad_package", base::full_message(error));
    } catch (const std::exception& error) {
      log_event("error", "internal_error", {{"model", name}, {"error", base::full_message(error)}});
      out = error_reply(500, "internal_error", "internal error");
    }
    is_loading_ = false;
    reply(std::move(out));
  });
}

void Service::shut_down() {
  engine_.shut_down();
  items_.stop();
  const std::scoped_lock lock(load_mutex_);
  if (loading_.valid()) loading_.wait();
}

}  // namespace uniscale::serve
