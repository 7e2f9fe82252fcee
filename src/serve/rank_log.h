// The rank log (serving.md §6): what was asked, which candidates stood where, and what the model saw, as
// NDJSON that `uniscale ingest` reads as a `requests` source: tomorrow's training input.
//
//   DIR/requests-<UTC time>-<pid>-<number>.ndjson.zst     whole files, a rename away from
//   DIR/.part-<pid>.ndjson.zst                            the one being written, passed over by ingest
//
// Lines are compressed and written by a thread of their own, a zstd frame a second, so a killed server loses
// a second at most; the next server that logs to DIR keeps the whole frames of what it left. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "serve/metrics.h"
#include "serve/rank_engine.h"

namespace uniscale::serve {

// One line, ended by '\n'. `ts_ms` and `request_id` stand in where the request has none. A candidate's
// position is its place in the reply, from 1, null beyond top_k; its `score` is the request's own feature of
// that name (the engine's), ours is `served_score`. Feature hashes are XXH3-64 over the encoded values, by
// side.
std::string rank_log_line(const Ranking& ranking, int64_t ts_ms, const std::string& request_id);
// Hex hash of everything that the model saw of the request side, and of each candidate.
std::string request_feature_hash(const ServedModel& model, const feature::RequestBatch& batch);
std::vector<std::string> candidate_feature_hashes(const ServedModel& model,
                                                  const feature::RequestBatch& batch);

class RankLog {
 public:
  struct Limits {
    int64_t max_file_bytes = 128 << 20;  // compressed
    int64_t max_file_seconds = 3600;
    int64_t max_waiting_bytes = 64 << 20;  // lines that wait; more are dropped and counted
    int64_t flush_ms = 1000;
  };
  // Makes DIR if need be and takes over what dead servers left. Throws IoError.
  RankLog(std::string directory, const Limits& limits, Metrics& metrics);
  // Writes what waits and publishes the file.
  ~RankLog();
  RankLog(const RankLog&) = delete;
  RankLog& operator=(const RankLog&) = delete;
  void write(const Ranking& ranking);
  // A line that somebody else made, ended by '\n'.
  void write_line(const std::string& line);
  // For a request that brings no id: no two servers or starts share it.
  std::string new_request_id();

 private:
  struct File;
  void work();
  void append(const std::string& lines);
  void publish();
  void recover();

  std::string directory_;
  Limits limits_;
  Metrics& metrics_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string waiting_;
  bool stopping_ = false;
  uint64_t first_request_ = 0, num_requests_ = 0;
  int64_t num_files_ = 0;
  std::unique_ptr<File> file_;  // of the writing thread
  std::thread thread_;
};

}  // namespace uniscale::serve
