// HTTP/1.1 calls to one address: asynchronous, with a deadline each, over connections that are kept.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
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

// How https certificates are checked.
struct TlsOptions {
  std::string ca_file;  // PEM; empty: the system's authorities
  bool verify = true;
};

// A connection, plain or inside TLS.
class Channel {
 public:
  Channel(boost::asio::io_context& context, boost::asio::ssl::context* tls)
      : plain_(boost::asio::make_strand(context)) {
    if (tls != nullptr) tls_.emplace(plain_, *tls);
  }
  boost::beast::tcp_stream& tcp() { return plain_; }
  bool is_tls() const { return tls_.has_value(); }
  boost::beast::ssl_stream<boost::beast::tcp_stream&>& tls() { return *tls_; }
  // Calls `call` with the stream that bytes go through.
  template <class Call>
  void visit(const Call& call) {
    if (tls_)
      call(*tls_);
    else
      call(plain_);
  }

 private:
  boost::beast::tcp_stream plain_;
  std::optional<boost::beast::ssl_stream<boost::beast::tcp_stream&>> tls_;
};

class HttpClient {
 public:
  struct Call {
    std::string method, target;
    serve::HttpHeaders headers;  // Host, Content-Length and the connection's own are set here
    std::string body;
    int64_t timeout_ms = 0;
  };
  // Throws UserError naming the file if `tls` names one that is no PEM.
  HttpClient(boost::asio::io_context& context, Url url, int64_t max_body_bytes, const TlsOptions& tls);
  // Calls `done` once, on a thread of the context. A call that a kept connection did not carry is made once
  // more over a new one.
  void send(Call call, std::function<void(ClientReply)> done);

 private:
  friend class Exchange;
  std::unique_ptr<Channel> take();
  void give_back(std::unique_ptr<Channel> channel);

  boost::asio::io_context& context_;
  Url url_;
  uint64_t max_body_bytes_;
  std::optional<boost::asio::ssl::context> tls_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Channel>> idle_;
};

}  // namespace uniscale::gateway::detail
