#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/run_config.h"

namespace uniscale::cli {
namespace {

struct Flags {
  CommonOptions common;
  std::string repository, port_file;
  int64_t port = -1, metrics_port = -1;
};

// The server binary beside this one; its process replaces ours, so signals and exit codes are its own.
[[noreturn]] void exec_server(const std::vector<std::string>& arguments) {
  const std::string server =
      (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "uniscale-server").string();
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(server.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(server.c_str(), argv.data());
  throw base::UserError(fmt::format("{}: cannot be started: {}", server, std::strerror(errno)));
}

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
    std::vector<std::string> arguments;
    // Each resolved key as --set serve.key=value.
    const std::string resolved = serve::section().resolved(&options);
    for (size_t begin = resolved.find('\n') + 1; begin < resolved.size();) {
      const size_t end = resolved.find('\n', begin);
      const std::string line = resolved.substr(begin, end - begin);
      const size_t equals = line.find(" = ");
      arguments.push_back("--set");
      arguments.push_back("serve." + line.substr(0, equals) + "=" + line.substr(equals + 3));
      begin = end + 1;
    }
    if (!flags->port_file.empty()) {
      arguments.push_back("--port-file");
      arguments.push_back(flags->port_file);
    }
    exec_server(arguments);
  });
}

}  // namespace uniscale::cli
