// Why a sample has its labels, and where an event went (es3.md §7): the rules of the slow twin on the rows
// concerned, as text.
#pragma once

#include <string>
#include <vector>

#include "es3/options.h"
#include "schema/log_schema.h"

namespace uniscale::es3 {

// `options.dt` narrows the search to one day; empty: every day of the store. `options.store` is read;
// where past days decide, their statistics beside `options.samples` are read, or made if they are missing.
// A request may also be a searchified one ("x:…"). Throws UserError if no search request has this id, or its
// list lacks the item.
std::string why_label(const Options& options, const std::string& request_id, const std::string& item_id);
// Throws UserError if there is no such event.
std::string why_event(const Options& options, const std::string& event_id);

}  // namespace uniscale::es3
