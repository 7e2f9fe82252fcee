#include "serve/http_message.h"

#include "json/json.h"

namespace uniscale::serve {

HttpReply error_reply(int status, const std::string& code, const std::string& text,
                      const std::string& request_id) {
  HttpReply reply{.status = status};
  json::Value body = {{"error", text}, {"code", code}, {"request_id", request_id}};
  reply.body = json::dump(body, -1);
  reply.retry_after = status == 503 || status == 429;
  return reply;
}

std::string query_value(const HttpRequest& request, std::string_view name) {
  const std::string_view target = request.target;
  size_t begin = target.find('?');
  while (begin != std::string_view::npos) {
    const size_t end = target.find('&', ++begin);
    const std::string_view one = target.substr(begin, end == std::string_view::npos ? end : end - begin);
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return std::string(one.substr(name.size() + 1));
    begin = end;
  }
  return "";
}

}  // namespace uniscale::serve
