// Verbs that are binaries of their own: what they link must not burden `uniscale`, nor its libraries them.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace uniscale::cli {

// Replaces this process by the binary of that name beside ours, so signals and exit codes are its own.
// `called`: what it takes for its own name; empty: its path. Throws UserError if it cannot be started.
[[noreturn]] void exec_beside(const std::string& name, const std::vector<std::string>& arguments,
                              const std::string& called = "");

// Each key of a section as `--set <section>.<key>=<value>`.
std::vector<std::string> as_set_flags(const config::AnySection& section, const void* options);

}  // namespace uniscale::cli
