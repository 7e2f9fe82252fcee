#include "ingest/ingest.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/threads.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/run_config.h"

namespace uniscale::cli {

void add_ingest(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    std::string dt;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "ingest", "Read raw logs ([[source]]), clean them and publish days of a log store (docs/ingest.md)");
  add_common_options(*command, flags->common);
  command->add_option("--dt", flags->dt, "Publish only this UTC day, YYYY-MM-DD (same as --set ingest.dt=…)");
  command->add_flag("--json", flags->json, "Print the report as JSON");
  command->callback([flags] {
    RunConfig config = load_run_config(flags->common);
    if (!flags->dt.empty()) {
      config.ingest.dt = flags->dt;
      config.resolved = config::resolved_text(bindings_of(config));
    }
    const double begin_wall = base::wall_seconds(), begin_cpu = base::process_cpu_seconds();
    const ingest::Report report =
        ingest::run(config.ingest, config.ingest_sources, config.schema, config.resolved,
                    base::resolve_num_threads(flags->common.threads),
                    [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
    if (flags->json) {
      fmt::print("{}\n", json::dump(report.to_json()));
      return;
    }
    fmt::print("{}", report.to_text());
    fmt::print("{:.1f} s, {:.1f} CPU s, {} MiB peak memory\n", base::wall_seconds() - begin_wall,
               base::process_cpu_seconds() - begin_cpu, base::peak_memory_bytes() >> 20);
  });
}

}  // namespace uniscale::cli
