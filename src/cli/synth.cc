#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/threads.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/run_config.h"
#include "synth/marketplace.h"

namespace uniscale::cli {

void add_synth(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "synth",
      "Write a synthetic marketplace as a log store, with the true probabilities beside it (docs/synth.md)");
  add_common_options(*command, flags->common);
  command->add_flag("--json", flags->json, "Print the counts as JSON");
  command->callback([flags] {
    const RunConfig config = load_run_config(flags->common);
    const double begin_wall = base::wall_seconds(), begin_cpu = base::process_cpu_seconds();
    const synth::Report report =
        synth::run(config.synth, config.schema, base::resolve_num_threads(flags->common.threads),
                   [](const std::string& line) { fmt::print(stderr, "{}\n", line); });
    if (flags->json) {
      fmt::print("{}\n", json::dump(report.counts));
      return;
    }
    const double cpu = base::process_cpu_seconds() - begin_cpu;
    fmt::print("{}: {} days, {} users, {} items, {} requests, {} candidates, {} events\n", report.store,
               report.num_days, report.num_users, report.num_items, report.num_requests,
               report.num_candidates, report.num_events);
    fmt::print("{:.1f} s, {:.1f} CPU s, {:.0f} candidates per CPU second, {} MiB peak memory\n",
               base::wall_seconds() - begin_wall, cpu,
               static_cast<double>(report.num_candidates) / std::max(cpu, 1e-9),
               base::peak_memory_bytes() >> 20);
  });
}

}  // namespace uniscale::cli
