// Item and user versions: what the store has and what the run read, merged; copies of one (id, ts): smallest
// bytes. Both tables are held in memory while they are merged.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ingest/convert.h"
#include "ingest/ingest.h"
#include "ingest/spill.h"

namespace uniscale::ingest {

// Publishes items (users) if the run read any.
void publish_entities(const Options& options, const schema::LogSchema& schema, const Spill& spill,
                      const json::Value& body, Report& report);
// Hashes of every item id of the store, sorted; empty without an items table.
std::vector<uint64_t> known_items(const std::string& store);

}  // namespace uniscale::ingest
