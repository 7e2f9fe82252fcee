#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/exec_beside.h"
#include "cli/run_config.h"

namespace uniscale::cli {
namespace {

struct Flags {
  CommonOptions common;
  std::string repository, port_file;
  int64_t port = -1, metrics_port = -1;
};

}  // namespace

void add_serve(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "serve", "Serve a model repository over HTTP (starts uniscale-server; docs/serving.md)");
  add_common_options(*command, flags->common);
  command->add_option("--repository", flags->repository,
                      "Model repository; else serve.repository, else train.repository");
  command->add_option("--port", flags->port, "HTTP port; 0: any free one; else serve.port")
      ->check(CLI::Range(0, 65535));
  command->add_option("--metrics-port", flags->metrics_port, "Port of /metrics; else serve.metrics_port")
      ->check(CLI::Range(0, 65535));
  command->add_option("--port-file", flags->port_file,
                      "Write the HTTP and the metrics port here once the server listens");
  command->callback([flags] {
    RunConfig config = load_run_config(flags->common);
    serve::Options& options = config.serve;
    if (options.repository.empty()) options.repository = config.train.repository;
    if (!flags->repository.empty()) options.repository = flags->repository;
    if (flags->port >= 0) options.port = flags->port;
    if (flags->metrics_port >= 0) options.metrics_port = flags->metrics_port;
    if (flags->common.threads > 0) options.threads = flags->common.threads;
    std::vector<std::string> arguments = as_set_flags(serve::section(), &options);
    if (!flags->port_file.empty()) {
      arguments.push_back("--port-file");
      arguments.push_back(flags->port_file);
    }
    exec_beside("uniscale-server", arguments);
  });
}

}  // namespace uniscale::cli
