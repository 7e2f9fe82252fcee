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

void add_synth(CLI::App& app);
void add_ingest(CLI::App& app);
void add_samples(CLI::App& app);
void add_why(CLI::App& app);
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_export(CLI::App& app);
void add_config(CLI::App& app);
void add_serve(CLI::App& app);
void add_gateway(CLI::App& app);

}  // namespace uniscale::cli
