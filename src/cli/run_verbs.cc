#include "cli/run_verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/version.h"
#include "config/config.h"

namespace uniscale::cli {
namespace {

int report(const std::exception& error, const char* kind, int exit_code) {
  const std::string text = base::full_message(error);
  fmt::print(stderr, "uniscale: {}{}\n", kind, text);
  return exit_code;
}

// The parser would only say that a verb is missing.
void require_known_verb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name() == argv[1]) return;
    verbs.push_back(verb->get_name());
  }
  const auto nearest = config::nearest_name(argv[1], verbs);
  throw base::UserError(fmt::format("unknown command \"{}\"{}; expected one of {}", argv[1],
                                    nearest ? fmt::format("; did you mean \"{}\"?", *nearest) : "",
                                    fmt::join(verbs, ", ")));
}

// Jobs work bucket by bucket and free what the last one took: memory stays with the process instead of going
// back to the kernel and coming again as pages to be cleared.
void keep_freed_memory() {
  constexpr int kMegabyte = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, 32 * kMegabyte);  // the largest that is allowed
  mallopt(M_TRIM_THRESHOLD, 1024 * kMegabyte);
}

}  // namespace

int run_verbs(int argc, char** argv, const std::vector<void (*)(CLI::App&)>& verbs) {
  keep_freed_memory();
  CLI::App app{"uniscale: from a shop's behaviour logs to a trained, served search ranker"};
  app.set_version_flag("--version", std::string(base::kVersion));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 usage or configuration, 3 input not ready, 4 quality gate failed, 5 I/O "
      "(retry), "
      "70 internal error.");
  for (const auto add : verbs) add(app);
  try {
    require_known_verb(app, argc, argv);
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const base::NotReadyError& error) {
    return report(error, "", 3);
  } catch (const base::GateError& error) {
    return report(error, "quality gate failed: ", 4);
  } catch (const base::UserError& error) {
    return report(error, "", 2);
  } catch (const base::IoError& error) {
    return report(error, "", 5);
  } catch (const std::bad_alloc& error) {
    return report(error, "out of memory: ", 5);
  } catch (const std::exception& error) {
    return report(error, "internal error: ", 70);
  }
}

}  // namespace uniscale::cli
