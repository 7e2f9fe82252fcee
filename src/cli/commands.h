// The verbs of `uniscale`, one .cc each (`<verb>.cc`). Each adds a CLI11 subcommand whose callback loads the
// config, calls its room and prints the result; rules of the domain stay in the rooms. Exceptions become exit
// codes in main.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace uniscale::cli {

// What every verb takes.
struct CommonOptions {
  std::string config;             // --config run.toml
  std::vector<std::string> sets;  // --set a.b=c, repeatable
  int64_t threads = 0;            // --threads, 0 = all CPUs
};
void add_common_options(CLI::App& command, CommonOptions& options);

inline constexpr const char* kAboutTrain =
    "Train the ranker on a sample set; export a bundle if train.repository is set (docs/training.md)";
inline constexpr const char* kAboutEval =
    "Exact metrics with intervals, of a score file or of a model on a sample set (docs/metrics.md)";
inline constexpr const char* kAboutExport =
    "Export a checkpoint as a bundle with golden requests to train.repository (docs/formats/bundle.md)";

void add_synth(CLI::App& app);
void add_ingest(CLI::App& app);
void add_samples(CLI::App& app);
void add_why(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_export(CLI::App& app);
// These three by name only: they replace the process by `uniscale-train`, so that no other verb loads torch.
void add_training_beside(CLI::App& app);
void add_config(CLI::App& app);
void add_serve(CLI::App& app);
void add_gateway(CLI::App& app);

}  // namespace uniscale::cli
