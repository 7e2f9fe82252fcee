#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/run_config.h"

namespace uniscale::cli {

void add_config(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    std::string explain;
    bool reference = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "config", "Check and print a configuration, explain a key, or print the reference page");
  add_common_options(*command, flags->common);
  command->add_option("--explain", flags->explain,
                      "Print type, default, meaning and source of one key, e.g. es3.native_window");
  command->add_flag("--reference", flags->reference, "Print docs/configuration.md");
  command->callback([flags] {
    std::string text;
    if (flags->reference) {
      text = config::reference_page(all_sections());
    } else if (!flags->explain.empty()) {
      text = config::explain(all_sections(), flags->explain);
    } else {
      text = load_run_config(flags->common).resolved;
    }
    std::fputs(text.c_str(), stdout);
  });
}

}  // namespace uniscale::cli
