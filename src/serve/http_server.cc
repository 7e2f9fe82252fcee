#include "serve/http_server.h"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <optional>
#include <thread>
#include <utility>  // before Boost 1.74's headers, which miss it under C++20
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "serve/log.h"

namespace uniscale::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

constexpr auto kIdleTimeout = std::chrono::seconds(60);
constexpr auto kLingerTimeout = std::chrono::seconds(3);
constexpr auto kWriteTimeout = std::chrono::seconds(30);
constexpr int kMaxConnections = 8192;
constexpr uint32_t kMaxHeaderBytes = 16 * 1024;

// What connections share.
struct Shared {
  const Options& options;
  Service& service;
  Metrics& metrics;
  std::atomic<bool> draining{false};
  std::atomic<int> connections{0};
};

using Handler = std::function<HttpReply(const HttpRequest&)>;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared, const Handler& handler)
      : stream_(std::move(socket)), shared_(shared), handler_(handler) {
    ++shared_.connections;
    beast::error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
  }
  ~Connection() { --shared_.connections; }

  void wait_for_request() {
    if (buffer_.size() > 0) return read_header();
    stream_.expires_after(kIdleTimeout);
    stream_.async_read_some(buffer_.prepare(4096),
                            [self = shared_from_this()](beast::error_code error, size_t size) {
                              if (error) return;  // closed or idle for too long
                              self->buffer_.commit(size);
                              self->read_header();
                            });
  }

 private:
  void read_header() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(static_cast<uint64_t>(shared_.options.max_body_bytes));
    stream_.expires_after(std::chrono::milliseconds(shared_.options.header_timeout.ms));
    http::async_read_header(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, size_t) {
                              if (error) return self->fail(error);
                              self->read_body();
                            });
  }

  void read_body() {
    stream_.expires_after(std::chrono::milliseconds(shared_.options.body_timeout.ms));
    if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
      auto go_on = std::make_shared<http::response<http::empty_body>>(http::status::continue_,
                                                                      parser_->get().version());
      http::async_write(stream_, *go_on, [self = shared_from_this(), go_on](beast::error_code error, size_t) {
        if (!error) self->read_rest();
      });
      return;
    }
    read_rest();
  }

  void read_rest() {
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, size_t) {
                       if (error) return self->fail(error);
                       self->answer();
                     });
  }

  void answer() {
    auto& message = parser_->get();
    HttpRequest request;
    request.received = std::chrono::steady_clock::now();
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.content_type = std::string(message[http::field::content_type]);
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    const bool head_only = message.method() == http::verb::head;
    const auto encoding = message[http::field::content_encoding];
    request.body = std::move(message.body());
    reply(encoding.empty() || encoding == "identity"
              ? handler_(request)
              : error_reply(415, "unsupported_media_type", "expected a body without Content-Encoding"),
          head_only);
  }

  // A request that could not be read: say why where HTTP can, then close.
  void fail(beast::error_code error) {
    keep_alive_ = false;
    if (error == http::error::body_limit) {
      return reply(
          error_reply(413, "body_too_large",
                      fmt::format("body: expected at most {} bytes", shared_.options.max_body_bytes)),
          false);
    }
    if (error == http::error::header_limit)
      return reply(error_reply(431, "header_too_large", "header: expected at most 16 KiB"), false);
    if (error == beast::error::timeout) {
      shared_.metrics.count_shed("slow_request");
      return;  // the stream is already closed
    }
    if (error.category() == http::make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message) {
      return reply(error_reply(400, "bad_http", "not a valid HTTP request"), false);
    }
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  }

  void reply(HttpReply out, bool head_only) {
    response_.emplace(static_cast<http::status>(out.status), version_);
    response_->set(http::field::server, "uniscale");
    response_->set(http::field::content_type, out.content_type);
    if (out.retry_after) response_->set(http::field::retry_after, "1");
    response_->keep_alive(keep_alive_ && !shared_.draining);
    const size_t size = out.body.size();
    if (!head_only) response_->body() = std::move(out.body);
    response_->prepare_payload();
    if (head_only) response_->content_length(size);
    stream_.expires_after(kWriteTimeout);
    http::async_write(stream_, *response_, [self = shared_from_this()](beast::error_code error, size_t) {
      if (error) return;
      if (!self->response_->keep_alive()) {
        beast::error_code ignored;
        self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        self->stream_.expires_after(kLingerTimeout);
        self->discard_rest();
        return;
      }
      self->wait_for_request();
    });
  }

  // A client may still be sending a body that was refused: closing at once would reset the connection and
  // lose the reply.
  void discard_rest() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(16384),
                            [self = shared_from_this()](beast::error_code error, size_t) {
                              if (!error) self->discard_rest();
                            });
  }

  beast::tcp_stream stream_;
  Shared& shared_;
  const Handler& handler_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  bool keep_alive_ = false;
  unsigned version_ = 11;
};

// Accepts on one port for as long as it is open.
class Listener {
 public:
  Listener(asio::io_context& context, const std::string& address, int64_t port, Shared& shared,
           Handler handler)
      : acceptor_(context), context_(context), shared_(shared), handler_(std::move(handler)) {
    try {
      const tcp::endpoint endpoint(asio::ip::make_address(address), static_cast<uint16_t>(port));
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(asio::socket_base::reuse_address(true));
      acceptor_.bind(endpoint);
      acceptor_.listen(asio::socket_base::max_listen_connections);
    } catch (const boost::system::system_error& error) {
      throw base::UserError(fmt::format("cannot listen on {}:{}: {}", address, port, error.what()));
    }
    accept();
  }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  void close() {
    beast::error_code ignored;
    acceptor_.close(ignored);
  }

 private:
  void accept() {
    acceptor_.async_accept(asio::make_strand(context_), [this](beast::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error && shared_.connections < kMaxConnections) {
        std::make_shared<Connection>(std::move(socket), shared_, handler_)->wait_for_request();
      } else if (!error) {
        shared_.metrics.count_shed("connections");
      } else {
        // Out of descriptors, say: give the machine a breath instead of spinning.
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      accept();
    });
  }

  tcp::acceptor acceptor_;
  asio::io_context& context_;
  Shared& shared_;
  Handler handler_;
};

}  // namespace

struct HttpServer::Impl {
  Impl(const Options& options, Service& the_service, Metrics& metrics)
      : shared{options, the_service, metrics},
        context(base::resolve_num_threads(options.threads)),
        main(context, options.bind, options.port, shared,
             [&the_service](const HttpRequest& request) { return the_service.handle(request); }),
        side(context, options.bind, options.metrics_port, shared,
             [&metrics, &the_service](const HttpRequest& request) -> HttpReply {
               if (request.target != "/metrics") return the_service.handle(request);
               return {.content_type = "text/plain; version=0.0.4", .body = metrics.text()};
             }),
        signals(context),
        timer(context) {}

  void drain() {
    if (shared.draining.exchange(true)) return;
    log_event("info", "draining", {{"delay_ms", shared.options.drain_delay.ms}});
    shared.service.begin_draining();
    timer.expires_after(std::chrono::milliseconds(shared.options.drain_delay.ms));
    timer.async_wait([this](beast::error_code) {
      main.close();
      side.close();
      give_up_at =
          std::chrono::steady_clock::now() + std::chrono::milliseconds(shared.options.drain_timeout.ms);
      wait_for_last();
    });
  }

  void wait_for_last() {
    if (shared.metrics.in_flight == 0 || std::chrono::steady_clock::now() >= give_up_at) {
      // One more breath for replies that are being written.
      timer.expires_after(std::chrono::milliseconds(100));
      timer.async_wait([this](beast::error_code) { context.stop(); });
      return;
    }
    timer.expires_after(std::chrono::milliseconds(20));
    timer.async_wait([this](beast::error_code) { wait_for_last(); });
  }

  Shared shared;
  asio::io_context context;
  Listener main, side;
  asio::signal_set signals;
  asio::steady_timer timer;
  std::chrono::steady_clock::time_point give_up_at;
};

HttpServer::HttpServer(const Options& options, Service& service, Metrics& metrics)
    : impl_(std::make_unique<Impl>(options, service, metrics)) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const { return impl_->main.port(); }
uint16_t HttpServer::metrics_port() const { return impl_->side.port(); }
void HttpServer::stop() {
  asio::post(impl_->context, [this] { impl_->drain(); });
}

void HttpServer::run(bool handle_signals, const std::function<void()>& refresh) {
  if (handle_signals) {
    impl_->signals.add(SIGTERM);
    impl_->signals.add(SIGINT);
    impl_->signals.async_wait([this](beast::error_code error, int) {
      if (!error) impl_->drain();
    });
  }
  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  std::thread watcher([&] {
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, std::chrono::milliseconds(impl_->shared.options.poll_interval.ms),
                          [&] { return done; })) {
      lock.unlock();
      refresh();
      lock.lock();
    }
  });
  std::vector<std::thread> threads;
  for (int i = 1; i < base::resolve_num_threads(impl_->shared.options.threads); ++i)
    threads.emplace_back([this] { impl_->context.run(); });
  impl_->context.run();
  for (std::thread& thread : threads) thread.join();
  {
    const std::scoped_lock lock(mutex);
    done = true;
  }
  wake.notify_all();
  watcher.join();
}

}  // namespace uniscale::serve
