// HTTP/1.1 calls to one address: asynchronous, with a deadline each, over connections that are kept.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gateway/url.h"
#include "serve/http_message.h"

namespace uniscale::gateway::detail {

struct ClientReply {
  std::string error;  // empty: the reply came whole; "timeout" if it did not come in time
  int status = 0;
  serve::HttpHeaders headers;
  std::string body;
};

class HttpClient {
 public:
  struct Call {
    std::string method, target;
    serve::HttpHeaders headers;  // Host, Content-Length and the connection's own are set here
    std::string body;
    int64_t timeout_ms = 0;
  };
  HttpClient(boost::asio::io_context& context, Url url, int64_t max_body_bytes);
  // Calls `done` once, on a thread of the context. A call that a kept connection did not carry is made once
  // more over a new one.
  void send(Call call, std::function<void(ClientReply)> done);

 private:
  friend class Exchange;
  using Stream = boost::beast::tcp_stream;
  std::unique_ptr<Stream> take();
  void give_back(std::unique_ptr<Stream> stream);

  boost::asio::io_context& context_;
  Url url_;
  uint64_t max_body_bytes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Stream>> idle_;
};

}  // namespace uniscale::gateway::detail
