// Which columns a source has: ours, where they stand in the raw row, which must be there. Values;
// thread-safe.
#pragma once

#include <string>
#include <vector>

#include "ingest/options.h"
#include "schema/log_schema.h"

namespace uniscale::ingest {

enum class Kind { Requests, Candidates, Events, Items, Users };

struct Field {
  std::string name;                // ours, as reports call it
  std::vector<std::string> paths;  // theirs, the first that is there counts; dots go into objects
  bool required = false;
};

// Slots of the fixed columns, in the order in which `shape_of` puts them; declared columns follow.
enum RequestSlot { kRequestId, kRequestDomain, kRequestUser, kRequestTs, kRequestQuery, kRequestFixed };
enum CandidateSlot { kItemId, kPosition, kScore, kCandidateFixed };
enum FlatSlot { kFlatRequestId, kFlatDomain, kFlatItem, kFlatPosition, kFlatScore, kFlatFixed };
enum EventSlot {
  kEventId,
  kEventDomain,
  kEventAction,
  kEventUser,
  kEventItem,
  kEventTs,
  kEventKnown,
  kEventRequest,
  kEventPosition,
  kEventValue,
  kEventQuantity,
  kEventFixed
};
enum ItemSlot { kItemItemId, kItemTs, kItemTitle, kItemCategory, kItemFixed };
enum UserSlot { kUserId, kUserTs, kUserFixed };

struct Shape {
  Kind kind = Kind::Requests;
  std::vector<Field> fields;
  std::vector<Field> candidates;        // fields of a nested candidate
  std::vector<std::string> list_paths;  // where the nested candidates or the embedding stand
  std::string list_name;                // "candidates", "embedding" or "": no list
};

// Throws UserError if `source.columns` names a column that the table does not have.
Shape shape_of(const SourceOptions& source, const schema::LogSchema& schema);

}  // namespace uniscale::ingest
