// What the binaries of the online half do around their work: flags, and exceptions to exit codes (2 usage or
// configuration, 5 I/O, 70 our own error).
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace uniscale::serve {

// Parses into `app`, then runs `body` and returns its exit code. `name` begins every error.
int run_binary(const char* name, CLI::App& app, int argc, char** argv, const std::function<int()>& body);

}  // namespace uniscale::serve
