// `planted_bundle <repository> <model> <seed> [<width>]`: publishes the next version of a small random model
// and prints its directory, so that tests of the server need no training. `width`: of both trunk layers, to
// make it slow.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "runtime/planted_bundle_test.h"

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  uniscale::runtime::planted::TrunkWidths trunk;
  if (argc > 4) trunk = {std::atoll(argv[4]), std::atoll(argv[4])};
  const std::string directory = uniscale::runtime::planted::publish(
      argv[1], argv[2], static_cast<uint64_t>(std::atoll(argv[3])), 0.0, trunk);
  std::printf("%s\n", directory.c_str());
  return 0;
}
