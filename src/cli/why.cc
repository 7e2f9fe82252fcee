#include "es3/why.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/run_config.h"

namespace uniscale::cli {

void add_why(CLI::App& app) {
  struct Flags {
    CommonOptions common;
    std::string request, item, event, dt, store;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "why", "Explain the labels of one sample (REQUEST ITEM), or where an event went (--event ID)");
  add_common_options(*command, flags->common);
  CLI::Option* request = command->add_option("request", flags->request, "request_id of a search request");
  command->add_option("item", flags->item, "item_id of one of its candidates")->needs(request);
  command->add_option("--event", flags->event, "event_id")->excludes(request);
  command->add_option("--dt", flags->dt, "Look in this day only, 2026-03-01; else in every day of the store");
  command->add_option("--store", flags->store, "Folder of the log store; else es3.store");
  command->callback([flags] {
    US_REQUIRE(!flags->event.empty() || !flags->item.empty(), "why: expected REQUEST ITEM or --event ID");
    es3::Options options = load_run_config(flags->common).es3;
    options.dt = flags->dt;
    if (!flags->store.empty()) options.store = flags->store;
    const std::string text = flags->event.empty() ? es3::why_label(options, flags->request, flags->item)
                                                  : es3::why_event(options, flags->event);
    std::fputs(text.c_str(), stdout);
  });
}

}  // namespace uniscale::cli
