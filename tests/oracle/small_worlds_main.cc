// Writes the small nasty log stores of synth/small_world.h, a folder a seed: <folder>/<seed>/store. For the
// SQL oracle, which reads log stores from outside. usage: small_worlds FOLDER FIRST_SEED COUNT
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <string>

#include "base/error.h"
#include "synth/small_world.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: small_worlds FOLDER FIRST_SEED COUNT\n");
    return 2;
  }
  try {
    const uint64_t first = std::strtoull(argv[2], nullptr, 10);
    const uint64_t count = std::strtoull(argv[3], nullptr, 10);
    for (uint64_t seed = first; seed < first + count; ++seed)
      uniscale::synth::make_small_world(fmt::format("{}/{}/store", argv[1], seed), seed);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", uniscale::base::full_message(error));
    return 1;
  }
  return 0;
}
