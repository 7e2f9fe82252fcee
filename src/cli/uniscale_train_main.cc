// `uniscale-train`: train, eval and export, which link torch; `uniscale train` and so on start it.
#include "cli/commands.h"
#include "cli/run_verbs.h"

int main(int argc, char** argv) {
  using namespace uniscale::cli;
  return run_verbs(argc, argv, {add_train, add_eval, add_export});
}
