// Where items stand in the lists of one user's requests, found by item: what events without a request of
// their own are held against. Not thread-safe.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "es3/bucket_logs.h"
#include "es3/day_ranges.h"

namespace uniscale::es3 {

class ItemPlaces {
 public:
  explicit ItemPlaces(const BucketLogs& logs) : logs_(logs) {}

  struct Place {
    uint64_t hash;  // of the item's id
    int32_t request;
    bool is_unexposed;
    int32_t candidate;
    auto operator<=>(const Place&) const = default;
  };
  static uint64_t hash_of(std::string_view item_id) { return base::hash_bytes(item_id, 0); }

  // The places in those lists of the user's requests in `span` for which `wants_request(request)`, of those
  // candidates for which `wants(request, candidate)` before their id is hashed, and `wants_hash(hash)` after.
  template <class WantsRequest, class Wants, class WantsHash>
  void build(int32_t user, const Span& span, const WantsRequest& wants_request, const Wants& wants,
             const WantsHash& wants_hash) {
    places_.clear();
    const auto [first, last] = logs_.requests_of(user);
    for (size_t i = first; i < last; ++i) {
      const RequestRow& request = logs_.requests[i];
      if (!request.has_list || !span.contains(request.ts_ms) || !wants_request(request)) continue;
      for (int32_t c = 0; c < request.num_candidates(); ++c) {
        if (!wants(request, c)) continue;
        const uint64_t hash = hash_of(logs_.item_id(request, c));
        if (wants_hash(hash))
          places_.push_back({hash, static_cast<int32_t>(i), !logs_.is_exposed(request, c), c});
      }
    }
    std::sort(places_.begin(), places_.end());
  }

  // The item's place in each request that holds it, by request, which is by (ts_ms, request_id); an exposed
  // place before others. Valid until the next call.
  const std::vector<Place>& find(std::string_view item_id);

 private:
  const BucketLogs& logs_;
  std::vector<Place> places_;  // sorted
  std::vector<Place> found_;
};

}  // namespace uniscale::es3
