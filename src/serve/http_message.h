// Requests and replies without a socket. Values.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace uniscale::serve {

using TimePoint = std::chrono::steady_clock::time_point;

// As sent, in their order; names in any case.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string target;  // path; a query string may follow
  std::string content_type;
  std::string body;
  TimePoint received;  // when the last byte came
  std::string client;  // address of the peer
  std::string content_encoding = {}, accept_encoding = {};
  std::string inference_header_length = {};  // Inference-Header-Content-Length as sent
  HttpHeaders headers = {};                  // all, where HttpApp::keeps_headers
};

// The value of `name` in the target's query string, as sent; empty if it is not there.
std::string query_value(const HttpRequest& request, std::string_view name);

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  bool retry_after = false;
  std::string content_encoding = {}, inference_header_length = {};  // empty: not sent
  HttpHeaders headers = {};                                         // further ones
};

// Takes the reply of one request, once, on any thread.
using ReplyFunction = std::function<void(HttpReply)>;

// {"error": …, "code": …, "request_id": …}; 429 and 503 carry Retry-After.
HttpReply error_reply(int status, const std::string& code, const std::string& text,
                      const std::string& request_id = "");

// A failure with the status that it becomes (serving.md §3).
struct Refusal {
  int status;
  std::string code;
  std::string text;
};

}  // namespace uniscale::serve
