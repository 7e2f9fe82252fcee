#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/exec_beside.h"

namespace uniscale::cli {

void add_training_beside(CLI::App& app) {
  for (const auto& [verb, about] :
       {std::pair{"train", kAboutTrain}, std::pair{"eval", kAboutEval}, std::pair{"export", kAboutExport}}) {
    CLI::App* command = app.add_subcommand(verb, about);
    // Every word after the verb is the other binary's, --help included.
    command->set_help_flag();
    command->prefix_command();
    command->callback([command, name = std::string(verb)] {
      std::vector<std::string> arguments = command->remaining();
      arguments.insert(arguments.begin(), name);
      exec_beside("uniscale-train", arguments, command->get_parent()->get_name());
    });
  }
}

}  // namespace uniscale::cli
