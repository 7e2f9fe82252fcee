// HTTP/1.1 over Service: asynchronous connections, time limits, draining. One server a process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "serve/metrics.h"
#include "serve/options.h"
#include "serve/service.h"

namespace uniscale::serve {

class HttpServer {
 public:
  // Binds both ports; throws UserError if one is taken.
  HttpServer(const Options& options, Service& service, Metrics& metrics);
  ~HttpServer();
  // The ports that were bound.
  uint16_t port() const;
  uint16_t metrics_port() const;
  // Serves until `stop()` or SIGTERM/SIGINT (if `handle_signals`); then drains and returns. `refresh` is
  // called every poll_interval on a thread of its own.
  void run(bool handle_signals, const std::function<void()>& refresh);
  // Thread-safe: begin to drain, as SIGTERM does.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uniscale::serve
