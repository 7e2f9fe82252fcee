// One HTTP/1.1 connection and the port it came from: reads a request within its time limits, hands it on,
// writes the reply whenever it comes. Everything of one connection runs on its strand.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>  // before Boost 1.74's headers, which miss it under C++20

#include "serve/http_message.h"
#include "serve/metrics.h"
#include "serve/options.h"

namespace uniscale::serve::detail {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

// What connections share.
struct Shared {
  const Options& options;
  Metrics& metrics;
  bool keeps_headers = false;
  std::atomic<bool> draining{false};
  std::atomic<int> connections{0};
  std::atomic<int> active{0};  // a request is being read, waited for or answered
};

using HttpHandler = std::function<void(const HttpRequest&, ReplyFunction)>;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared, const HttpHandler& handler);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  void wait_for_request();

 private:
  void read_header();
  void read_body();
  void read_rest();
  void answer();
  // A request that could not be read: says why where HTTP can, then closes.
  void fail(beast::error_code error);
  void reply(HttpReply out);
  // A client may still be sending a body that was refused: closing at once would reset the connection and
  // lose the reply.
  void discard_rest();
  void set_active(bool active);

  beast::tcp_stream stream_;
  Shared& shared_;
  const HttpHandler& handler_;
  std::string client_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  bool keep_alive_ = false, head_only_ = false, active_ = false;
  unsigned version_ = 11;
};

// Accepts on one port for as long as it is open.
class Listener {
 public:
  // Throws UserError if the port is taken.
  Listener(asio::io_context& context, const std::string& address, int64_t port, Shared& shared,
           HttpHandler handler);
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void close();

 private:
  void accept();

  tcp::acceptor acceptor_;
  asio::io_context& context_;
  Shared& shared_;
  HttpHandler handler_;
};

}  // namespace uniscale::serve::detail
