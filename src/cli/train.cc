#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/run_config.h"
#include "cli/training.h"
#include "train/export.h"

namespace uniscale::cli {
namespace {

// Set by SIGTERM and SIGINT: checkpoint, then leave.
std::atomic<bool> stop_requested{false};

void request_stop(int) { stop_requested = true; }

}  // namespace

train::RunSpec run_spec_of(const RunConfig& config, int64_t threads) {
  return {.options = config.train,
          .dataset = config.dataset,
          .model = config.model,
          .features = config.features,
          .tokens = config.tokens,
          .schema = config.schema,
          .sequences = config.sequences,
          .history_length = config.es3.history_length,
          .resolved_config = config.resolved,
          .threads = static_cast<int>(threads)};
}

void add_train(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    bool resume = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("train", kAboutTrain);
  add_common_options(*command, flags->common);
  command->add_flag("--resume", flags->resume,
                    "Go on from the newest checkpoint in train.output, if there is one");
  command->callback([flags] {
    const RunConfig config = load_run_config(flags->common);
    const train::RunSpec run = run_spec_of(config, flags->common.threads);
    std::signal(SIGTERM, request_stop);
    std::signal(SIGINT, request_stop);
    train::TrainedModel model = train::train(run, flags->resume, stop_requested, [](const std::string& line) {
      fmt::print(stderr, "{}\n", line);
    });
    if (model.interrupted) {
      fmt::print("stopped at step {}; go on with --resume\n", model.step);
      return;
    }
    fmt::print("trained {} steps; checkpoints and metrics in {}\n", model.step, run.options.output);
    if (!run.options.repository.empty()) fmt::print("exported {}\n", train::export_bundle(run, model));
  });
}

void add_export(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    std::string checkpoint;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("export", kAboutExport);
  add_common_options(*command, flags->common);
  command->add_option("--checkpoint", flags->checkpoint,
                      "Checkpoint folder; default: the newest in train.output");
  command->callback([flags] {
    const RunConfig config = load_run_config(flags->common);
    const train::RunSpec run = run_spec_of(config, flags->common.threads);
    std::string folder = flags->checkpoint;
    if (folder.empty()) {
      const auto newest = train::newest_checkpoint(run.options.output);
      if (!newest) throw base::NotReadyError(run.options.output + ": no checkpoint here");
      folder = *newest;
    }
    train::TrainedModel model = train::load_checkpoint(folder, run.model);
    fmt::print("exported {}\n", train::export_bundle(run, model));
  });
}

}  // namespace uniscale::cli
