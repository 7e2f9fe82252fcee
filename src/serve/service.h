// Requests in, replies out, without a socket: routes, limits, error shape (serving.md §1, §3). Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "serve/metrics.h"
#include "serve/model_set.h"
#include "serve/options.h"

namespace uniscale::serve {

struct HttpRequest {
  std::string method;
  std::string target;  // path, a query string is cut off
  std::string content_type;
  std::string body;
  std::chrono::steady_clock::time_point received;  // when the last byte came
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  bool retry_after = false;
};

class Service {
 public:
  Service(const Options& options, ModelSet& models, Metrics& metrics)
      : options_(options), models_(models), metrics_(metrics) {}
  HttpReply handle(const HttpRequest& request);
  // From now on not ready, but still serving.
  void begin_draining() { draining_ = true; }

 private:
  HttpReply rank(const std::string& model_name, const HttpRequest& request);
  HttpReply list_models() const;
  HttpReply model_ready(const std::string& name) const;

  const Options& options_;
  ModelSet& models_;
  Metrics& metrics_;
  std::atomic<bool> draining_{false};
};

// {"error": …, "code": …, "request_id": …}
HttpReply error_reply(int status, const std::string& code, const std::string& text,
                      const std::string& request_id = "");

}  // namespace uniscale::serve
