#include "serve/detail/http_connection.h"

#include <fmt/format.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <thread>

#include "base/error.h"

namespace uniscale::serve::detail {
namespace {

constexpr auto kIdleTimeout = std::chrono::seconds(60);
constexpr auto kLingerTimeout = std::chrono::seconds(3);
constexpr auto kWriteTimeout = std::chrono::seconds(30);
constexpr int kMaxConnections = 8192;
constexpr uint32_t kMaxHeaderBytes = 16 * 1024;

}  // namespace

Connection::Connection(tcp::socket socket, Shared& shared, const HttpHandler& handler)
    : stream_(std::move(socket)), shared_(shared), handler_(handler) {
  ++shared_.connections;
  beast::error_code ignored;
  stream_.socket().set_option(tcp::no_delay(true), ignored);
  const auto peer = stream_.socket().remote_endpoint(ignored);
  if (!ignored) client_ = peer.address().to_string();
}

Connection::~Connection() {
  set_active(false);
  --shared_.connections;
}

void Connection::set_active(bool active) {
  if (active != active_) shared_.active += active ? 1 : -1;
  active_ = active;
}

void Connection::wait_for_request() {
  if (buffer_.size() > 0) return read_header();
  stream_.expires_after(kIdleTimeout);
  stream_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this()](beast::error_code error, size_t size) {
                            if (error) return;  // closed or idle for too long
                            self->buffer_.commit(size);
                            self->read_header();
                          });
}

void Connection::read_header() {
  set_active(true);
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

void Connection::read_body() {
  stream_.expires_after(std::chrono::milliseconds(shared_.options.body_timeout.ms));
  if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
    auto go_on =
        std::make_shared<http::response<http::empty_body>>(http::status::continue_, parser_->get().version());
    http::async_write(stream_, *go_on, [self = shared_from_this(), go_on](beast::error_code error, size_t) {
      if (!error) self->read_rest();
    });
    return;
  }
  read_rest();
}

void Connection::read_rest() {
  http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    if (error) return self->fail(error);
    self->answer();
  });
}

void Connection::answer() {
  auto& message = parser_->get();
  HttpRequest request;
  request.received = std::chrono::steady_clock::now();
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.content_type = std::string(message[http::field::content_type]);
  request.content_encoding = std::string(message[http::field::content_encoding]);
  request.accept_encoding = std::string(message[http::field::accept_encoding]);
  request.inference_header_length = std::string(message["Inference-Header-Content-Length"]);
  if (shared_.keeps_headers) {
    for (const auto& field : message)
      request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request.client = client_;
  request.body = std::move(message.body());
  keep_alive_ = message.keep_alive();
  version_ = message.version();
  head_only_ = message.method() == http::verb::head;
  stream_.expires_never();
  handler_(request, [self = shared_from_this()](HttpReply out) {
    asio::dispatch(self->stream_.get_executor(),
                   [self, out = std::move(out)]() mutable { self->reply(std::move(out)); });
  });
}

void Connection::fail(beast::error_code error) {
  keep_alive_ = head_only_ = false;
  if (error == http::error::body_limit) {
    return reply(error_reply(413, "body_too_large",
                             fmt::format("body: expected at most {} bytes", shared_.options.max_body_bytes)));
  }
  if (error == http::error::header_limit)
    return reply(error_reply(431, "header_too_large", "header: expected at most 16 KiB"));
  set_active(false);
  if (error == beast::error::timeout) {
    shared_.metrics.count_shed("slow_request");
    return;  // the stream is already closed
  }
  if (error.category() == http::make_error_code(http::error::bad_method).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return reply(error_reply(400, "bad_http", "not a valid HTTP request"));
  }
  beast::error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
}

void Connection::reply(HttpReply out) {
  response_.emplace(static_cast<http::status>(out.status), version_);
  response_->set(http::field::server, "uniscale");
  response_->set(http::field::content_type, out.content_type);
  if (!out.content_encoding.empty()) response_->set(http::field::content_encoding, out.content_encoding);
  if (!out.inference_header_length.empty())
    response_->set("Inference-Header-Content-Length", out.inference_header_length);
  for (const auto& [name, value] : out.headers) response_->insert(name, value);
  if (out.retry_after) response_->set(http::field::retry_after, "1");
  response_->keep_alive(keep_alive_ && !shared_.draining);
  const size_t size = out.body.size();
  if (!head_only_) response_->body() = std::move(out.body);
  response_->prepare_payload();
  if (head_only_) response_->content_length(size);
  stream_.expires_after(kWriteTimeout);
  http::async_write(stream_, *response_, [self = shared_from_this()](beast::error_code error, size_t) {
    self->set_active(false);
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

void Connection::discard_rest() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(16384),
                          [self = shared_from_this()](beast::error_code error, size_t) {
                            if (!error) self->discard_rest();
                          });
}

Listener::Listener(asio::io_context& context, const std::string& address, int64_t port, Shared& shared,
                   HttpHandler handler)
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

void Listener::close() {
  beast::error_code ignored;
  acceptor_.close(ignored);
}

void Listener::accept() {
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

}  // namespace uniscale::serve::detail
