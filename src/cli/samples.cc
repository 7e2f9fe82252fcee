#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/run_config.h"
#include "es3/build.h"

namespace uniscale::cli {

void add_samples(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    std::string dt, from, to, store, samples;
    bool measure_flat = false;
    bool allow_failed_gates = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "samples", "Build training samples (ES3) from the log store, a day or a span of days");
  add_common_options(*command, flags->common);
  CLI::Option* dt = command->add_option("--dt", flags->dt,
                                        "The day to build, 2026-03-01; else es3.dt, or es3.from and es3.to");
  command->add_option("--from", flags->from, "First day of a span to build")->excludes(dt);
  command->add_option("--to", flags->to, "Last day of a span to build, included")->excludes(dt);
  command->add_option("--store", flags->store, "Folder of the log store; else es3.store");
  command->add_option("--samples", flags->samples, "Folder of the sample set; else es3.samples");
  command->add_flag("--measure-flat", flags->measure_flat,
                    "Also store the rows flat, aside, to report list-wise bytes against flat ones (slower)");
  command->add_flag("--allow-failed-gates", flags->allow_failed_gates,
                    "Publish days that fail a gate of [gates], marked as failed, instead of ending with 4");
  command->callback([flags] {
    RunConfig config = load_run_config(flags->common);
    es3::BuildRequest request;
    request.options = config.es3;
    es3::Options& options = request.options;
    if (!flags->dt.empty()) {
      options.dt = flags->dt;
      options.from.clear();
      options.to.clear();
    } else if (!flags->from.empty() || !flags->to.empty()) {
      options.dt.clear();
      if (!flags->from.empty()) options.from = flags->from;
      if (!flags->to.empty()) options.to = flags->to;
    }
    if (!flags->store.empty()) options.store = flags->store;
    if (!flags->samples.empty()) options.samples = flags->samples;
    // A day's manifest reads the same whether the day was built alone or in a span.
    config.es3 = options;
    config.es3.dt = config.es3.from = config.es3.to = "";
    request.resolved_config = config::resolved_text(bindings_of(config));
    if (flags->common.threads > 0) options.threads = flags->common.threads;
    request.sequences = config.sequences;
    request.measure_flat = flags->measure_flat;
    request.gates = config.gates;
    request.allow_failed_gates = flags->allow_failed_gates;
    es3::build(request, [](const es3::DayReport& report) {
      std::fputs(es3::to_text(report).c_str(), stdout);
      std::fflush(stdout);
    });
  });
}

}  // namespace uniscale::cli
