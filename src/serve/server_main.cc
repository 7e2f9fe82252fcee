// `uniscale-server`: the online half alone. Flags are the keys of [serve]; `uniscale serve` starts it from a
// run.toml.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "serve/grpc_server.h"
#include "serve/http_server.h"
#include "serve/log.h"
#include "serve/model_set.h"
#include "serve/rank_log.h"
#include "serve/run_binary.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

int serve(const Options& options, const std::string& port_file) {
  US_REQUIRE(!options.repository.empty(), "serve.repository: expected a model repository, got nothing");
  Metrics metrics;
  ModelSet models(options.repository, metrics, runtime::parse_precision(options.precision, "serve.precision"),
                  options.keep_previous);
  // Before the service, whose threads write to it until they end.
  std::unique_ptr<RankLog> rank_log;
  if (!options.log_requests.empty())
    rank_log = std::make_unique<RankLog>(options.log_requests, RankLog::Limits{}, metrics);
  Service service(options, models, metrics);
  if (rank_log)
    service.engine().set_observer([&rank_log](const Ranking& ranking) { rank_log->write(ranking); });
  HttpServer server(options, app_of(service, metrics), metrics);
  models.refresh();
  std::unique_ptr<GrpcServer> grpc;
  if (options.grpc_port >= 0) grpc = std::make_unique<GrpcServer>(options, service);
  const int grpc_port = grpc ? grpc->port() : 0;
  if (!models.ready()) log_event("warning", "no_model", {{"repository", options.repository}});
  log_event("info", "listening",
            {{"bind", options.bind},
             {"port", server.port()},
             {"metrics_port", server.metrics_port()},
             {"grpc_port", grpc_port}});
  if (!port_file.empty())
    base::write_file_atomically(port_file,
                                fmt::format("{}\n{}\n{}\n", server.port(), server.metrics_port(), grpc_port));
  server.run(true, [&] {
    models.refresh();
    if (grpc) grpc->update_health();
  });
  log_event("info", "stopped");
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"uniscale-server: ranks search candidates over HTTP (docs/serving.md)"};
  std::string config_path, port_file, repository, log_requests, precision, items_log;
  std::vector<std::string> sets;
  app.add_option("--config", config_path, "TOML file with a [serve] section and nothing else");
  app.add_option("--set", sets, "Override one key: serve.port=9000; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--repository", repository, "Model repository; the same as --set serve.repository=…");
  app.add_option("--log-requests", log_requests,
                 "Folder of the rank log; the same as --set serve.log_requests=…");
  app.add_option("--items-log", items_log,
                 "Folder of the log of fresh items; the same as --set serve.items_log=…");
  app.add_option("--precision", precision, "fp32 or bf16; the same as --set serve.precision=…");
  app.add_option("--port-file", port_file,
                 "Write the HTTP, metrics and gRPC port here, a line each, once the server listens");
  return run_binary("uniscale-server", app, argc, argv, [&] {
    Options options;
    config::load(config_path, sets, {{&section(), &options}});
    if (!repository.empty()) options.repository = repository;
    if (!log_requests.empty()) options.log_requests = log_requests;
    if (!items_log.empty()) options.items_log = items_log;
    if (!precision.empty()) options.precision = precision;
    return serve(options, port_file);
  });
}

}  // namespace
}  // namespace uniscale::serve

int main(int argc, char** argv) { return uniscale::serve::run(argc, argv); }
