// `uniscale`: the verbs that need no torch, and the way to those that do.
#include "cli/commands.h"
#include "cli/run_verbs.h"

int main(int argc, char** argv) {
  using namespace uniscale::cli;
  return run_verbs(
      argc, argv,
      {add_synth, add_ingest, add_samples, add_why, add_training_beside, add_config, add_serve, add_gateway});
}
