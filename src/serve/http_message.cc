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

}  // namespace uniscale::serve
