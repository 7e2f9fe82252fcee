// `uniscale-gateway`: flags are the keys of [gateway]; `uniscale gateway` starts it from a run.toml.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "gateway/gateway.h"
#include "serve/http_server.h"
#include "serve/log.h"
#include "serve/rank_log.h"
#include "serve/run_binary.h"

namespace uniscale::gateway {
namespace {

int serve_searches(const Options& options, const std::string& port_file) {
  check_options(options);
  serve::Options http;
  http.bind = options.bind;
  http.port = options.port;
  http.metrics_port = options.metrics_port;
  http.max_body_bytes = options.max_body_bytes;
  http.drain_delay = options.drain_delay;
  http.drain_timeout = options.drain_timeout;
  serve::Metrics metrics;
  std::unique_ptr<serve::RankLog> log;
  if (!options.log_requests.empty())
    log = std::make_unique<serve::RankLog>(options.log_requests, serve::RankLog::Limits{}, metrics);
  Gateway gateway(options, log.get());
  serve::HttpServer server(
      http,
      {.handle = [&](const serve::HttpRequest& request,
                     serve::ReplyFunction reply) { gateway.handle(request, std::move(reply)); },
       .handle_admin = [&](const serve::HttpRequest& request,
                           serve::ReplyFunction reply) { gateway.handle_admin(request, std::move(reply)); },
       .begin_draining = [&] { gateway.begin_draining(); },
       .shut_down = [&] { gateway.shut_down(); },
       .keeps_headers = true},
      metrics);
  serve::log_event(
      "info", "listening",
      {{"bind", options.bind}, {"port", server.port()}, {"metrics_port", server.metrics_port()}});
  if (!port_file.empty())
    base::write_file_atomically(port_file, fmt::format("{}\n{}\n", server.port(), server.metrics_port()));
  server.run(true, [] {});
  serve::log_event("info", "stopped");
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"uniscale-gateway: reranks the answers of a search engine (docs/gateway.md)"};
  std::string config_path, port_file, engine, upstream, server;
  std::vector<std::string> sets;
  app.add_option("--config", config_path, "TOML file with a [gateway] section and nothing else");
  app.add_option("--set", sets, "Override one key: gateway.depth=100; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--engine", engine, "opensearch, elasticsearch or solr; the same as --set gateway.engine=…");
  app.add_option("--upstream", upstream,
                 "The engine, http://host:port; the same as --set gateway.upstream=…");
  app.add_option("--server", server, "The ranking server; the same as --set gateway.server=…");
  app.add_option("--port-file", port_file,
                 "Write the HTTP and the metrics port here, a line each, once the gateway listens");
  return serve::run_binary("uniscale-gateway", app, argc, argv, [&] {
    Options options;
    for (const auto& [key, value] :
         {std::pair{"engine", &engine}, std::pair{"upstream", &upstream}, std::pair{"server", &server}})
      if (!value->empty()) sets.push_back(fmt::format("gateway.{}={}", key, *value));
    config::load(config_path, sets, {{&section(), &options}});
    return serve_searches(options, port_file);
  });
}

}  // namespace
}  // namespace uniscale::gateway

int main(int argc, char** argv) { return uniscale::gateway::run(argc, argv); }
