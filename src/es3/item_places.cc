#include "es3/item_places.h"

namespace uniscale::es3 {

const std::vector<ItemPlaces::Place>& ItemPlaces::find(std::string_view item_id) {
  found_.clear();
  const uint64_t hash = hash_of(item_id);
  auto it = std::lower_bound(places_.begin(), places_.end(), hash,
                             [](const Place& place, uint64_t value) { return place.hash < value; });
  for (; it != places_.end() && it->hash == hash; ++it) {
    if (!found_.empty() && found_.back().request == it->request) continue;
    if (logs_.item_id(logs_.requests[static_cast<size_t>(it->request)], it->candidate) == item_id)
      found_.push_back(*it);
  }
  return found_;
}

}  // namespace uniscale::es3
