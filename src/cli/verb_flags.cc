#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace uniscale::cli {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--config", options.config,
                     "TOML file of the run; docs/configuration.md lists every key");
  command
      .add_option("--set", options.sets,
                  "Override one key: section.key=value, or source[0].path=value; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--threads", options.threads, "Threads to use; 0: all CPUs of this process")
      ->check(CLI::Range(0, 1024));
}

}  // namespace uniscale::cli
