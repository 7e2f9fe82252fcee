#include "serve/run_binary.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/version.h"

namespace uniscale::serve {

int run_binary(const char* name, CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  app.set_version_flag("--version", std::string(base::kVersion));
  try {
    app.parse(argc, argv);
    return body();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const base::UserError& error) {
    fmt::print(stderr, "{}: {}\n", name, base::full_message(error));
    return 2;
  } catch (const base::IoError& error) {
    fmt::print(stderr, "{}: {}\n", name, base::full_message(error));
    return 5;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: internal error: {}\n", name, base::full_message(error));
    return 70;
  }
}

}  // namespace uniscale::serve
