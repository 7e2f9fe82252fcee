// HTTP/1.1 over an HttpApp: asynchronous connections, time limits, draining. One server a process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "serve/metrics.h"
#include "serve/options.h"
#include "serve/service.h"

namespace uniscale::serve {

// What answers. The handlers reply once, on any thread.
struct HttpApp {
  std::function<void(const HttpRequest&, ReplyFunction)> handle;
  std::function<void(const HttpRequest&, ReplyFunction)> handle_admin;  // on the metrics port
  std::function<void()> begin_draining = [] {};  // not ready from now on, but still answering
  std::function<void()> stop = [] {};            // what waits is refused
  std::function<void()> shut_down = [] {};       // stop, and nothing replies once it returns
  bool keeps_headers = false;                    // HttpRequest::headers is filled
};
// The ranking server's.
HttpApp app_of(Service& service, Metrics& metrics);

class HttpServer {
 public:
  // Binds both ports; throws UserError if one is taken.
  HttpServer(const Options& options, HttpApp app, Metrics& metrics);
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
