#include "serve/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "serve/detail/http_connection.h"
#include "serve/log.h"

namespace uniscale::serve {

namespace asio = boost::asio;
namespace beast = boost::beast;

struct HttpServer::Impl {
  Impl(const Options& options, HttpApp the_app, Metrics& metrics)
      : app(std::move(the_app)),
        shared{options, metrics, app.keeps_headers},
        context(static_cast<int>(options.io_threads)),
        main(context, options.bind, options.port, shared, app.handle),
        side(context, options.bind, options.metrics_port, shared, app.handle_admin),
        signals(context),
        timer(context) {}

  // Not ready at once; serve on for drain_delay; then accept no more and finish what is in flight.
  void drain() {
    if (shared.draining.exchange(true)) return;
    log_event("info", "draining", {{"delay_ms", shared.options.drain_delay.ms}});
    app.begin_draining();
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
    const bool late = std::chrono::steady_clock::now() >= give_up_at;
    // In flight beyond the connections: gRPC.
    if ((shared.active > 0 || shared.metrics.in_flight > 0) && !late) {
      timer.expires_after(std::chrono::milliseconds(20));
      timer.async_wait([this](beast::error_code) { wait_for_last(); });
      return;
    }
    if (late) {
      log_event("warning", "drain_timeout", {{"in_flight", shared.active.load()}});
      app.stop();
    }
    // One more breath for replies that are being written.
    timer.expires_after(std::chrono::milliseconds(100));
    timer.async_wait([this](beast::error_code) { context.stop(); });
  }

  HttpApp app;
  detail::Shared shared;
  asio::io_context context;
  detail::Listener main, side;
  asio::signal_set signals;
  asio::steady_timer timer;
  std::chrono::steady_clock::time_point give_up_at;
};

HttpApp app_of(Service& service, Metrics& metrics) {
  return {.handle = [&service](const HttpRequest& request,
                               ReplyFunction reply) { service.handle(request, std::move(reply)); },
          .handle_admin =
              [&service, &metrics](const HttpRequest& request, ReplyFunction reply) {
                if (request.target != "/metrics") return service.handle_admin(request, std::move(reply));
                reply({.content_type = "text/plain; version=0.0.4", .body = metrics.text()});
              },
          .begin_draining = [&service] { service.begin_draining(); },
          .stop = [&service] { service.stop(); },
          .shut_down = [&service] { service.shut_down(); }};
}

HttpServer::HttpServer(const Options& options, HttpApp app, Metrics& metrics)
    : impl_(std::make_unique<Impl>(options, std::move(app), metrics)) {}
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
  for (int64_t i = 1; i < impl_->shared.options.io_threads; ++i)
    threads.emplace_back([this] { impl_->context.run(); });
  impl_->context.run();
  for (std::thread& thread : threads) thread.join();
  // Before the connections die: jobs hold their replies.
  impl_->app.shut_down();
  {
    const std::scoped_lock lock(mutex);
    done = true;
  }
  wake.notify_all();
  watcher.join();
}

}  // namespace uniscale::serve
