// A bench's scratch folder: made below the system's temporary folder, removed at the end however the bench
// ends.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace uniscale::bench {

// Runs `bench(folder)` and returns its exit code; an exception is printed and gives 1.
inline int run_in_scratch(const std::string& name, int (*bench)(const std::string& folder)) {
  std::string folder = (std::filesystem::temp_directory_path() / ("us-bench-" + name + "-XXXXXX")).string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  int result = 1;
  try {
    result = bench(folder);
  } catch (const std::exception& error) {
    fmt::print("{}\n", base::full_message(error));
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return result;
}

}  // namespace uniscale::bench
