// UBI 1.0 – 1.3 (docs/decisions/ubi.md): ubi_queries and ubi_events as plain NDJSON documents, wrapped hits
// or bulk format, mixed in one file or not.
#pragma once

#include <string>

#include "ingest/convert.h"

namespace uniscale::ingest {

// `skipped` counts documents that are valid but hold nothing for ⓪ (an event without item, a bulk delete).
void read_ubi(const std::string& path, const SourceOptions& source, const schema::LogSchema& schema,
              const Options& options, const RowVisitor& visitor, const Emit& emit, const Count& skipped);

}  // namespace uniscale::ingest
