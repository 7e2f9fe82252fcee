// Requests in, replies out, without a socket: the doors on one routes table (serving.md §1 – §3).
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <mutex>
#include <string>

#include "serve/http_message.h"
#include "serve/items_api.h"
#include "serve/metrics.h"
#include "serve/model_set.h"
#include "serve/options.h"
#include "serve/rank_engine.h"
#include "serve/router.h"

namespace uniscale::serve {

class Service {
 public:
  // Throws UserError, IoError if the items log cannot be opened.
  Service(const Options& options, ModelSet& models, Metrics& metrics);
  // Replies once, on this thread or a scoring thread.
  void handle(const HttpRequest& request, ReplyFunction reply);
  // The same on the admin listener, which has more routes.
  void handle_admin(const HttpRequest& request, ReplyFunction reply);
  // `handle`, waited for.
  HttpReply handle(const HttpRequest& request);
  // From now on not ready, but still serving.
  void begin_draining();
  // Called by begin_draining, which runs once.
  void set_on_draining(std::function<void()> callback);
  bool is_ready() const { return models_.ready() && !draining_; }
  // Nothing is ranked from now on; what waits is answered 503.
  void stop() { engine_.stop(); }
  // stop(), and no scoring thread runs when it returns.
  void shut_down();
  // For routes of other files; before the first request. The admin listener serves both tables.
  Router& router() { return router_; }
  Router& admin_router() { return admin_router_; }
  RankEngine& engine() { return engine_; }

 private:
  HttpReply list_models() const;
  HttpReply model_ready(const std::string& name, const std::string& version) const;
  void handle_with(const Router& router, const HttpRequest& request, const ReplyFunction& reply);
  void load_model(const std::string& name, const ReplyFunction& reply);

  const Options& options_;
  ModelSet& models_;
  std::atomic<bool> draining_{false};
  ItemsApi items_;  // before the engine, which reads it
  RankEngine engine_;
  Router router_, admin_router_;
  std::mutex draining_mutex_;
  std::function<void()> on_draining_;
  std::mutex load_mutex_;
  std::atomic<bool> is_loading_{false};
  std::future<void> loading_;
};

}  // namespace uniscale::serve
