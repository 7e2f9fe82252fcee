#include "serve/router.h"

#include <atomic>
#include <memory>
#include <utility>

#include "base/error.h"
#include "serve/log.h"

namespace uniscale::serve {
namespace {

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  if (path.empty() || path[0] != '/') return segments;
  for (size_t begin = 1;;) {
    const size_t end = path.find('/', begin);
    segments.push_back(path.substr(begin, end - begin));
    if (end == std::string_view::npos) return segments;
    begin = end + 1;
  }
}

// "{model}" or "{model}:load": a value and what must stand behind it.
bool is_value(std::string_view segment) { return !segment.empty() && segment[0] == '{'; }

bool fits(const std::vector<std::string>& pattern, const std::vector<std::string_view>& path,
          PathValues& values) {
  if (pattern.size() != path.size()) return false;
  values.clear();
  for (size_t i = 0; i < path.size(); ++i) {
    if (!is_value(pattern[i])) {
      if (pattern[i] != path[i]) return false;
      continue;
    }
    const std::string_view suffix = std::string_view(pattern[i]).substr(pattern[i].find('}') + 1);
    if (path[i].size() <= suffix.size() || !path[i].ends_with(suffix)) return false;
    values.emplace_back(path[i].substr(0, path[i].size() - suffix.size()));
  }
  return true;
}

}  // namespace

void Router::add(std::string method, std::string_view pattern, Handler handler) {
  std::vector<std::string> segments;
  for (std::string_view segment : segments_of(pattern)) segments.emplace_back(segment);
  routes_.push_back({std::move(method), std::move(segments), std::move(handler)});
}

void Router::add_plain(std::string method, std::string_view pattern, PlainHandler handler) {
  add(std::move(method), pattern,
      [handler = std::move(handler)](const HttpRequest& request, const PathValues& values,
                                     ReplyFunction reply) { reply(handler(request, values)); });
}

bool Router::has(const HttpRequest& request) const {
  const std::string path = request.target.substr(0, request.target.find('?'));
  const std::vector<std::string_view> segments = segments_of(path);
  PathValues values;
  for (const Route& route : routes_)
    if (fits(route.segments, segments, values)) return true;
  return false;
}

void Router::handle(const HttpRequest& request, ReplyFunction reply) const {
  const std::string path = request.target.substr(0, request.target.find('?'));
  const std::vector<std::string_view> segments = segments_of(path);
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : routes_) {
    PathValues values;
    if (!fits(route.segments, segments, values)) continue;
    if (route.method != method) {
      allowed = route.method;
      continue;
    }
    // Shared with the handler's copy, so that an exception after the reply cannot reply twice.
    auto replied = std::make_shared<std::atomic<bool>>(false);
    try {
      route.handler(request, values, [reply, replied](HttpReply out) {
        if (!replied->exchange(true)) reply(std::move(out));
      });
    } catch (const Refusal& refusal) {
      if (!replied->exchange(true)) reply(error_reply(refusal.status, refusal.code, refusal.text));
    } catch (const std::exception& error) {
      log_event("error", "internal_error",
                {{"path", path.substr(0, 200)}, {"error", base::full_message(error)}});
      if (!replied->exchange(true)) reply(error_reply(500, "internal_error", "internal error"));
    }
    return;
  }
  reply(allowed.empty() ? error_reply(404, "not_found", "no such path")
                        : error_reply(405, "method_not_allowed", "expected " + allowed));
}

}  // namespace uniscale::serve
