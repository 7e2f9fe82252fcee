#include "gateway/detail/http_client.h"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>

#include "base/error.h"

namespace uniscale::gateway::detail {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

namespace {

constexpr size_t kMaxIdle = 64;
constexpr uint32_t kMaxHeaderBytes = 64 * 1024;

}  // namespace

// One call from its beginning to `done`; everything of it runs on the strand of its stream.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(HttpClient& client, HttpClient::Call call, std::function<void(ClientReply)> done)
      : client_(client),
        done_(std::move(done)),
        resolver_(client.context_),
        give_up_at_(std::chrono::steady_clock::now() + std::chrono::milliseconds(call.timeout_ms)) {
    request_.method_string(call.method);
    request_.target(client.url_.prefix + call.target);
    for (const auto& [name, value] : call.headers) request_.insert(name, value);
    const bool is_v6 = client.url_.host.find(':') != std::string::npos;
    request_.set(http::field::host,
                 (is_v6 ? "[" + client.url_.host + "]" : client.url_.host) + ":" + client.url_.port);
    const bool has_body = !call.body.empty() || (call.method != "GET" && call.method != "HEAD");
    request_.body() = std::move(call.body);
    if (has_body) request_.prepare_payload();
    is_head_ = call.method == "HEAD";
  }

  void begin() {
    channel_ = client_.take();
    if (channel_) {
      is_kept_ = true;
      return write();
    }
    connect();
  }

 private:
  void connect() {
    is_kept_ = false;
    channel_ = std::make_unique<Channel>(client_.context_, client_.tls_ ? &*client_.tls_ : nullptr);
    resolver_.async_resolve(
        client_.url_.host, client_.url_.port,
        [self = shared_from_this()](beast::error_code error, const tcp::resolver::results_type& found) {
          if (error) return self->fail(error);
          self->channel_->tcp().expires_at(self->give_up_at_);
          self->channel_->tcp().async_connect(found, [self](beast::error_code failed, const tcp::endpoint&) {
            if (failed) return self->fail(failed);
            beast::error_code ignored;
            self->channel_->tcp().socket().set_option(tcp::no_delay(true), ignored);
            self->channel_->is_tls() ? self->shake_hands() : self->write();
          });
        });
  }

  void shake_hands() {
    auto& tls = channel_->tls();
    // The name that is asked for (addresses are not), and that the certificate must bear.
    beast::error_code not_an_address;
    asio::ip::make_address(client_.url_.host, not_an_address);
    if (not_an_address) SSL_set_tlsext_host_name(tls.native_handle(), client_.url_.host.c_str());
    tls.set_verify_callback(asio::ssl::host_name_verification(client_.url_.host));
    tls.async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](beast::error_code error) {
      if (error) return self->fail(error);
      self->write();
    });
  }

  void write() {
    channel_->tcp().expires_at(give_up_at_);
    channel_->visit([this](auto& stream) {
      http::async_write(stream, request_, [self = shared_from_this()](beast::error_code error, size_t) {
        if (error) return self->again_or_fail(error);
        self->read();
      });
    });
  }

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(client_.max_body_bytes_);
    parser_->skip(is_head_);
    channel_->visit([this](auto& stream) {
      http::async_read(stream, buffer_, *parser_,
                       [self = shared_from_this()](beast::error_code error, size_t) {
                         if (error) return self->again_or_fail(error);
                         self->finish();
                       });
    });
  }

  // The other side may have closed a kept connection just then.
  void again_or_fail(beast::error_code error) {
    const bool nothing_came = !parser_ || !parser_->got_some();
    if (!is_kept_ || !nothing_came || error == beast::error::timeout) return fail(error);
    buffer_.clear();
    parser_.reset();
    connect();
  }

  void finish() {
    auto& message = parser_->get();
    ClientReply reply;
    reply.status = message.result_int();
    for (const auto& field : message)
      reply.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    reply.body = std::move(message.body());
    if (parser_->keep_alive() && buffer_.size() == 0) client_.give_back(std::move(channel_));
    done_(std::move(reply));
  }

  void fail(beast::error_code error) {
    done_({.error = error == beast::error::timeout ? "timeout" : error.message()});
  }

  HttpClient& client_;
  std::function<void(ClientReply)> done_;
  tcp::resolver resolver_;
  std::chrono::steady_clock::time_point give_up_at_;
  http::request<http::string_body> request_;
  std::unique_ptr<Channel> channel_;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
  bool is_kept_ = false, is_head_ = false;
};

HttpClient::HttpClient(asio::io_context& context, Url url, int64_t max_body_bytes, const TlsOptions& tls)
    : context_(context), url_(std::move(url)), max_body_bytes_(static_cast<uint64_t>(max_body_bytes)) {
  if (!url_.is_tls) return;
  tls_.emplace(asio::ssl::context::tls_client);
  tls_->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  tls_->set_verify_mode(tls.verify ? asio::ssl::verify_peer : asio::ssl::verify_none);
  boost::system::error_code error;
  if (tls.ca_file.empty())
    tls_->set_default_verify_paths(error);
  else
    tls_->load_verify_file(tls.ca_file, error);
  US_REQUIRE(!error, fmt::format("gateway.ca_file: {}: expected a PEM file of authorities: {}", tls.ca_file,
                                 error.message()));
}

void HttpClient::send(Call call, std::function<void(ClientReply)> done) {
  std::make_shared<Exchange>(*this, std::move(call), std::move(done))->begin();
}

std::unique_ptr<Channel> HttpClient::take() {
  const std::scoped_lock lock(mutex_);
  if (idle_.empty()) return nullptr;
  std::unique_ptr<Channel> channel = std::move(idle_.back());
  idle_.pop_back();
  return channel;
}

void HttpClient::give_back(std::unique_ptr<Channel> channel) {
  channel->tcp().expires_never();
  const std::scoped_lock lock(mutex_);
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(channel));
}

}  // namespace uniscale::gateway::detail
