#include "ingest/clean.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_map>

namespace uniscale::ingest {
namespace {

constexpr int32_t kLast = std::numeric_limits<int32_t>::max();

int32_t smallest_position(const RequestRecord& request) {
  int32_t out = kLast;
  for (const CandidateRecord& one : request.candidates) out = std::min(out, one.position.value_or(kLast));
  return out;
}

// The first shown occurrence of an item is kept whole, else the first.
void drop_repeated_items(RequestRecord& request, const Count& count) {
  std::unordered_map<std::string_view, size_t> kept;
  std::vector<bool> is_dropped(request.candidates.size(), false);
  bool any = false;
  for (size_t i = 0; i < request.candidates.size(); ++i) {
    const auto [it, is_new] = kept.try_emplace(request.candidates[i].item_id, i);
    if (is_new) continue;
    any = true;
    count("duplicate_item_in_list");
    if (!request.candidates[it->second].position && request.candidates[i].position) {
      is_dropped[it->second] = true;
      it->second = i;
    } else {
      is_dropped[i] = true;
    }
  }
  if (!any) return;
  std::vector<CandidateRecord> left;
  for (size_t i = 0; i < request.candidates.size(); ++i) {
    if (!is_dropped[i]) left.push_back(request.candidates[i]);
  }
  request.candidates = std::move(left);
}

void join_loose(RequestRecord& request, const std::vector<const LooseCandidate*>& loose) {
  std::unordered_map<std::string_view, size_t> places;
  for (size_t i = 0; i < request.candidates.size(); ++i) places.try_emplace(request.candidates[i].item_id, i);
  std::unordered_map<std::string_view, bool> is_set;
  // Where impressions were logged they alone say what was shown; returned and not seen is not exposed.
  if (std::any_of(loose.begin(), loose.end(), [](const LooseCandidate* one) { return one->is_impression; })) {
    for (CandidateRecord& candidate : request.candidates) candidate.position.reset();
  }
  for (const LooseCandidate* one : loose) {
    if (!one->is_impression) {
      request.candidates.push_back(one->candidate);
      continue;
    }
    // Impressions are in order of position: the first of an item counts.
    if (!is_set.try_emplace(one->candidate.item_id, true).second) continue;
    const auto [it, is_new] = places.try_emplace(one->candidate.item_id, request.candidates.size());
    if (is_new) {
      request.candidates.push_back(one->candidate);
    } else if (one->candidate.position) {
      request.candidates[it->second].position = one->candidate.position;
    }
  }
}

}  // namespace

void clean_requests(const std::vector<std::string_view>& requests, const std::vector<std::string_view>& loose,
                    const CleanRules& rules, const Count& count,
                    const std::function<void(const RequestRecord&)>& out) {
  struct Key {
    RequestRecord request;
    int32_t position;
  };
  std::vector<Key> rows;
  rows.reserve(requests.size());
  for (const std::string_view bytes : requests) {
    Key key{.request = read_request(bytes), .position = 0};
    key.position = smallest_position(key.request);
    rows.push_back(std::move(key));
  }
  std::sort(rows.begin(), rows.end(), [](const Key& a, const Key& b) {
    const RequestRecord &x = a.request, &y = b.request;
    return std::tie(x.request_id, x.domain, x.ts_ms, a.position, x.bytes) <
           std::tie(y.request_id, y.domain, y.ts_ms, b.position, y.bytes);
  });
  std::vector<LooseCandidate> candidates;
  candidates.reserve(loose.size());
  for (const std::string_view bytes : loose) candidates.push_back(read_loose(bytes));
  std::sort(candidates.begin(), candidates.end(), [](const LooseCandidate& a, const LooseCandidate& b) {
    const int32_t p = a.candidate.position.value_or(kLast), q = b.candidate.position.value_or(kLast);
    const float s = -a.candidate.score.value_or(-std::numeric_limits<float>::infinity());
    const float t = -b.candidate.score.value_or(-std::numeric_limits<float>::infinity());
    return std::tie(a.request_id, a.is_impression, p, s, a.candidate.item_id, a.bytes) <
           std::tie(b.request_id, b.is_impression, q, t, b.candidate.item_id, b.bytes);
  });
  size_t next = 0;  // of candidates
  for (size_t begin = 0; begin < rows.size();) {
    // All rows of one request_id, over domains and times.
    const std::string_view id = rows[begin].request.request_id;
    size_t end = begin;
    std::vector<RequestRecord> merged;
    for (; end < rows.size() && rows[end].request.request_id == id; ++end) {
      RequestRecord& row = rows[end].request;
      if (!merged.empty() && merged.back().domain == row.domain) {
        const int64_t after = row.ts_ms - merged.back().ts_ms;
        if (after <= rules.page_window_ms) {
          merged.back().candidates.insert(merged.back().candidates.end(), row.candidates.begin(),
                                          row.candidates.end());
          count("page_merged");
          continue;
        }
        if (after <= rules.id_window_ms) {
          count("request_id_reused");
          continue;
        }
      }
      merged.push_back(std::move(row));
    }
    begin = end;
    for (; next < candidates.size() && candidates[next].request_id < id; ++next)
      count("candidate_without_request");
    std::vector<std::vector<const LooseCandidate*>> of_request(merged.size());
    for (; next < candidates.size() && candidates[next].request_id == id; ++next) {
      // The earliest request of the candidate's domain; of any domain where it has none.
      size_t best = merged.size();
      for (size_t i = 0; i < merged.size(); ++i) {
        const std::string_view domain = candidates[next].domain;
        if (domain.data() != nullptr && domain != merged[i].domain) continue;
        if (best == merged.size() || merged[i].ts_ms < merged[best].ts_ms) best = i;
      }
      if (best == merged.size())
        count("candidate_without_request");
      else
        of_request[best].push_back(&candidates[next]);
    }
    for (size_t i = 0; i < merged.size(); ++i) {
      join_loose(merged[i], of_request[i]);
      drop_repeated_items(merged[i], count);
      out(merged[i]);
    }
  }
  for (; next < candidates.size(); ++next) count("candidate_without_request");
}

void clean_events(const std::vector<std::string_view>& events, const CleanRules& rules, const Count& count,
                  const std::function<void(const EventRecord&)>& out) {
  std::vector<EventRecord> rows;
  rows.reserve(events.size());
  for (const std::string_view bytes : events) rows.push_back(read_event(bytes));
  std::sort(rows.begin(), rows.end(), [](const EventRecord& a, const EventRecord& b) {
    return std::tie(a.event.event_id, a.event.ts_ms, a.event.known_ms, a.bytes) <
           std::tie(b.event.event_id, b.event.ts_ms, b.event.known_ms, b.bytes);
  });
  const EventRecord* kept = nullptr;
  for (const EventRecord& row : rows) {
    if (kept != nullptr && kept->event.event_id == row.event.event_id &&
        row.event.ts_ms - kept->event.ts_ms <= rules.id_window_ms) {
      count("duplicate_event");
      continue;
    }
    kept = &row;
    out(row);
  }
}

}  // namespace uniscale::ingest
