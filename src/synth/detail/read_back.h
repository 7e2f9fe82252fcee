// Test support: a written store as plain rows.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/temporary_folder_test.h"
#include "logstore/logstore.h"
#include "synth/marketplace.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::synth {

struct ReadCandidate {
  std::string item_id;
  int32_t position = 0;  // 0 = null
  float score = 0;
  std::optional<double> bm25;
  double popularity = 0;
  float click_prob = 0;
  float purchase_prob = 0;
};

struct ReadRequest {
  std::string request_id, domain;
  std::optional<std::string> user_id, query;
  int64_t ts_ms = 0;
  int bucket = 0;
  std::vector<ReadCandidate> candidates;
};

struct ReadEvent {
  std::string event_id, domain, action, item_id;
  std::optional<std::string> user_id, request_id;
  int64_t ts_ms = 0, known_ms = 0;
  int32_t position = 0;  // 0 = null
  std::optional<double> value;
  int bucket = 0;
};

// In file order: day, bucket, row.
struct ReadLogs {
  std::vector<ReadRequest> requests;
  std::vector<ReadEvent> events;
};

inline std::optional<std::string> text_at(const table::Column& column, int64_t row) {
  if (!column.is_valid(row)) return std::nullopt;
  return std::string(column.string(row));
}

template <class Visit>
void for_each_table(const std::string& path, Visit visit) {
  const table::ParquetReader reader(path);
  for (int group = 0; group < reader.num_row_groups(); ++group) visit(reader.read_row_group(group));
}

inline void read_requests(const std::string& path, int bucket, std::vector<ReadRequest>& out) {
  for_each_table(path, [&](const table::Table& t) {
    const table::Column& list = *t.find("candidates");
    const table::Column& candidate = list.child(0);
    for (int64_t row = 0; row < t.num_rows(); ++row) {
      ReadRequest r{.request_id = std::string(t.find("request_id")->string(row)),
                    .domain = std::string(t.find("domain")->string(row)),
                    .user_id = text_at(*t.find("user_id"), row),
                    .query = text_at(*t.find("query"), row),
                    .ts_ms = t.find("ts_ms")->int64s()[static_cast<size_t>(row)],
                    .bucket = bucket};
      for (int64_t i = list.list_begin(row); i < list.list_end(row); ++i) {
        const auto at = static_cast<size_t>(i);
        ReadCandidate c{.item_id = std::string(candidate.find_child("item_id")->string(i))};
        const table::Column& position = *candidate.find_child("position");
        if (position.is_valid(i)) c.position = position.int32s()[at];
        c.score = candidate.find_child("score")->floats()[at];
        if (candidate.find_child("bm25")->is_valid(i)) c.bm25 = candidate.find_child("bm25")->doubles()[at];
        c.popularity = candidate.find_child("popularity")->doubles()[at];
        r.candidates.push_back(std::move(c));
      }
      out.push_back(std::move(r));
    }
  });
}

inline void read_events(const std::string& path, int bucket, std::vector<ReadEvent>& out) {
  for_each_table(path, [&](const table::Table& t) {
    for (int64_t row = 0; row < t.num_rows(); ++row) {
      const auto at = static_cast<size_t>(row);
      ReadEvent e{.event_id = std::string(t.find("event_id")->string(row)),
                  .domain = std::string(t.find("domain")->string(row)),
                  .action = std::string(t.find("action")->string(row)),
                  .item_id = std::string(t.find("item_id")->string(row)),
                  .user_id = text_at(*t.find("user_id"), row),
                  .request_id = text_at(*t.find("request_id"), row),
                  .ts_ms = t.find("ts_ms")->int64s()[at],
                  .known_ms = t.find("known_ms")->int64s()[at],
                  .bucket = bucket};
      if (t.find("position")->is_valid(row)) e.position = t.find("position")->int32s()[at];
      if (t.find("value")->is_valid(row)) e.value = t.find("value")->doubles()[at];
      out.push_back(std::move(e));
    }
  });
}

// Truth rows go to the candidates in order; returns false if they do not line up.
inline bool read_truth(const std::string& path, std::vector<ReadRequest>& requests, size_t first) {
  size_t request = first, candidate = 0;
  bool lines_up = true;
  for_each_table(path, [&](const table::Table& t) {
    for (int64_t row = 0; row < t.num_rows() && lines_up; ++row) {
      while (request < requests.size() && candidate == requests[request].candidates.size()) {
        ++request;
        candidate = 0;
      }
      if (request == requests.size()) {
        lines_up = false;
        return;
      }
      ReadCandidate& c = requests[request].candidates[candidate++];
      lines_up = t.find("request_id")->string(row) == requests[request].request_id &&
                 t.find("domain")->string(row) == requests[request].domain &&
                 t.find("item_id")->string(row) == c.item_id;
      c.click_prob = t.find("click_prob")->floats()[static_cast<size_t>(row)];
      c.purchase_prob = t.find("purchase_prob")->floats()[static_cast<size_t>(row)];
    }
  });
  return lines_up && (requests.size() == first ||
                      (request == requests.size() - 1 && candidate == requests[request].candidates.size()));
}

// Throws if the truth does not line up with the requests.
inline ReadLogs read_logs(const std::string& store, bool with_truth = true) {
  const logstore::LogStore logs(store);
  ReadLogs out;
  for (base::Day day : logs.days()) {
    std::map<std::string, std::string> truth;  // by folder
    if (with_truth) {
      const auto publication = table::read_publication(store, truth_part(day));
      for (const auto& file : publication.value().files) {
        truth[file.path.substr(0, file.path.rfind('/'))] = store + "/" + file.path;
      }
    }
    for (int bucket = 0; bucket < logs.schema().num_buckets; ++bucket) {
      const size_t first = out.requests.size();
      if (const auto path = logs.requests_file(day, bucket)) {
        read_requests(*path, bucket, out.requests);
        const std::string number = std::to_string(1000 + bucket).substr(1);
        if (with_truth && !read_truth(truth.at("truth/dt=" + base::format_day(day) + "/bucket=" + number),
                                      out.requests, first)) {
          throw std::runtime_error("truth and requests do not line up: " + *path);
        }
      }
      if (const auto path = logs.events_file(day, bucket)) read_events(*path, bucket, out.events);
    }
  }
  return out;
}

// Every manifest but those of the store itself: name → content.
inline std::map<std::string, std::string> read_manifests(const std::string& store) {
  std::map<std::string, std::string> out;
  for (const std::string& path : base::list_files(store + "/manifests", ".json")) {
    out[std::filesystem::path(path).filename().string()] = base::read_file(path);
  }
  return out;
}

using base::TemporaryFolder;

}  // namespace uniscale::synth
