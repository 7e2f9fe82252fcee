// The routes table: method and path pattern → handler. Thread-safe once every route was added.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http_message.h"

namespace uniscale::serve {

// What `{name}` segments of the pattern matched, in their order. Never empty, never with a '/'.
using PathValues = std::vector<std::string>;

class Router {
 public:
  // Replies once, now or later, on any thread.
  using Handler = std::function<void(const HttpRequest&, const PathValues&, ReplyFunction)>;
  // Replies on return.
  using PlainHandler = std::function<HttpReply(const HttpRequest&, const PathValues&)>;

  // `pattern`: "/v1/rank/{model}". GET serves HEAD too.
  void add(std::string method, std::string_view pattern, Handler handler);
  void add_plain(std::string method, std::string_view pattern, PlainHandler handler);
  // 404 if no pattern fits the path, 405 if one does but not its method; a Refusal that a handler throws is
  // its reply, any other exception becomes 500 and is logged.
  void handle(const HttpRequest& request, ReplyFunction reply) const;
  // True if a pattern fits the path, whatever its method.
  bool has(const HttpRequest& request) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> segments;  // "" = a value
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace uniscale::serve
