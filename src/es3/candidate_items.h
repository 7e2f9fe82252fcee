// The items of candidates, each looked up once: the stages ask for the same candidate again and again. One
// per bucket; not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "es3/bucket_logs.h"
#include "es3/entity_versions.h"

namespace uniscale::es3 {

class CandidateItems {
 public:
  CandidateItems(const BucketLogs& logs, const EntityVersions& items)
      : logs_(logs), items_(items), numbers_(logs.request_tables.size()) {}

  // The version of the candidate's item that is valid at the time of its request.
  Ref at(const RequestRow& request, int32_t candidate) {
    std::vector<int32_t>& numbers = numbers_[static_cast<size_t>(request.table)];
    const table::Column& ids = *logs_.request_tables[static_cast<size_t>(request.table)].item_id;
    // Ids that are coded are looked up once for each different one.
    if (numbers.empty())
      numbers.assign(static_cast<size_t>(ids.is_coded() ? ids.dictionary().length() : ids.length()),
                     kNotAsked);
    const auto place = static_cast<size_t>(request.begin + candidate);
    int32_t& number = numbers[ids.is_coded() ? static_cast<size_t>(ids.codes()[place]) : place];
    if (number == kNotAsked) number = items_.number_of(logs_.item_id(request, candidate));
    return items_.at_number(number, request.ts_ms);
  }

 private:
  static constexpr int32_t kNotAsked = -2;
  const BucketLogs& logs_;
  const EntityVersions& items_;
  std::vector<std::vector<int32_t>> numbers_;  // by table, and code of the id or candidate
};

}  // namespace uniscale::es3
