// `[serve]`: where the models are, where to listen, how much to take.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "config/config.h"

namespace uniscale::serve {

struct Options {
  std::string repository;  // <repository>/<model>/{CURRENT, <version>/…}
  std::string bind = "127.0.0.1";
  int64_t port = 8000;          // 0: any free port
  int64_t grpc_port = 8001;     // 0: any free port; −1: no gRPC
  int64_t metrics_port = 8002;  // 0: any free port
  int64_t threads = 0;          // that score; 0: all CPUs
  int64_t io_threads = 1;
  std::string precision = "fp32";  // of the products: fp32 | bf16
  int64_t max_items = 1000;
  int64_t max_in_flight = 256;
  int64_t max_in_flight_per_client = 0;  // 0: no limit
  int64_t max_queue_candidates = 65'536;
  int64_t max_body_bytes = 8 << 20;
  bool strict_features = true;
  base::Duration default_deadline{0};  // 0: none
  std::string log_requests;            // folder of the rank log; empty: none
  bool keep_previous = true;
  bool ui = true;
  std::string items_log;  // folder of the log of fresh items; empty: no upserts
  int64_t max_fresh_items = 1'000'000;
  base::Duration poll_interval{2 * base::kSecondMs};
  base::Duration drain_delay{5 * base::kSecondMs};
  base::Duration drain_timeout{20 * base::kSecondMs};
  base::Duration header_timeout{5 * base::kSecondMs};
  base::Duration body_timeout{10 * base::kSecondMs};
};
const config::Section<Options>& section();

// The hard limits that no option lifts.
inline constexpr int64_t kHardMaxItems = 5000;
inline constexpr int64_t kMaxIdBytes = 256;
inline constexpr double kMaxDeadlineMs = 1e9;
// Candidates scored at once; between two chunks others get their turn and deadlines are looked at (serving.md
// §5).
inline constexpr int64_t kChunkCandidates = 512;

}  // namespace uniscale::serve
