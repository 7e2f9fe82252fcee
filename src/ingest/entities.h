// Item and user versions: what the store has and what the run read, merged; copies of one (id, ts): smallest
// bytes. Sorted through files: memory is options.task_bytes whatever the tables' size.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ingest/convert.h"
#include "ingest/ingest.h"
#include "ingest/spill.h"

namespace uniscale::ingest {

// Spill keys of item versions, and of the user versions of a bucket.
inline constexpr const char* kItemsKey = "items";
std::string users_key(int bucket);

// Publishes items (users) if the run read any. Adds the store's own versions to the spill and empties it.
void publish_entities(const Options& options, const schema::LogSchema& schema, Spill& spill,
                      const json::Value& body, Report& report);
// Hashes of every item id of the store, sorted; empty without an items table.
std::vector<uint64_t> known_items(const std::string& store);

}  // namespace uniscale::ingest
