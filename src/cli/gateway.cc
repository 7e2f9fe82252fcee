#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/exec_beside.h"
#include "cli/run_config.h"

namespace uniscale::cli {
namespace {

struct Flags {
  CommonOptions common;
  std::string engine, upstream, server, port_file;
  int64_t port = -1, metrics_port = -1;
};

}  // namespace

void add_gateway(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "gateway", "Rerank the answers of a search engine (starts uniscale-gateway; docs/gateway.md)");
  add_common_options(*command, flags->common);
  command->add_option("--engine", flags->engine, "opensearch, elasticsearch or solr; else gateway.engine");
  command->add_option("--upstream", flags->upstream, "The engine, http://host:port; else gateway.upstream");
  command->add_option("--server", flags->server, "The ranking server; else gateway.server");
  command->add_option("--port", flags->port, "HTTP port; 0: any free one; else gateway.port")
      ->check(CLI::Range(0, 65535));
  command->add_option("--metrics-port", flags->metrics_port, "Port of /metrics; else gateway.metrics_port")
      ->check(CLI::Range(0, 65535));
  command->add_option("--port-file", flags->port_file,
                      "Write the HTTP and the metrics port here once the gateway listens");
  command->callback([flags] {
    for (const auto& [key, value] :
         {std::pair{"engine", &flags->engine}, std::pair{"upstream", &flags->upstream},
          std::pair{"server", &flags->server}})
      if (!value->empty()) flags->common.sets.push_back(std::string("gateway.") + key + "=" + *value);
    RunConfig config = load_run_config(flags->common);
    if (flags->port >= 0) config.gateway.port = flags->port;
    if (flags->metrics_port >= 0) config.gateway.metrics_port = flags->metrics_port;
    gateway::check_options(config.gateway);
    std::vector<std::string> arguments = as_set_flags(gateway::section(), &config.gateway);
    if (!flags->port_file.empty()) {
      arguments.push_back("--port-file");
      arguments.push_back(flags->port_file);
    }
    exec_beside("uniscale-gateway", arguments);
  });
}

}  // namespace uniscale::cli
