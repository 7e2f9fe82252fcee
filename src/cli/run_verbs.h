// A command line: verbs to rooms, exceptions to exit codes.
//   0 done · 2 usage or configuration · 3 input not ready · 4 quality gate failed · 5 retryable I/O · 70 our
//   own error
#pragma once

#include <vector>

namespace CLI {
class App;
}

namespace uniscale::cli {

// `verbs` add their subcommands. Returns the exit code.
int run_verbs(int argc, char** argv, const std::vector<void (*)(CLI::App&)>& verbs);

}  // namespace uniscale::cli
