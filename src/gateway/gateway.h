// Between shoppers and their search engine: a search goes to the engine as it is, only deeper; its hits come
// back in the ranking server's order. Whatever goes wrong on the way to a better order, the engine's own is
// served: nobody waits for ranking longer than `deadline`, and a search never fails because of it.
// Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gateway/options.h"
#include "serve/http_message.h"
#include "serve/rank_log.h"

namespace uniscale::gateway {

class Gateway {
 public:
  // `log`: null, or where each ranked search goes with all its candidates. Throws UserError for bad
  // addresses.
  Gateway(const Options& options, serve::RankLog* log);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Replies once, on this thread or the client's. Header `X-Uniscale` of a reply says what was done with it:
  // "ranked", "passed" (not a search, sorted by something else, …) or "failed open", and why.
  void handle(const serve::HttpRequest& request, serve::ReplyFunction reply);
  // GET /metrics (Prometheus text), /live, /ready.
  void handle_admin(const serve::HttpRequest& request, serve::ReplyFunction reply);
  void begin_draining();
  // No call to the engine or the server goes on, and nothing replies once it returns.
  void shut_down();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uniscale::gateway
