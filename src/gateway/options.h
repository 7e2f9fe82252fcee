// `[gateway]`: the search engine, the ranking server, and what of a search becomes a ranking request.
#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "config/config.h"

namespace uniscale::gateway {

struct Options {
  std::string engine = "opensearch";  // opensearch | elasticsearch | solr
  std::string upstream;               // http(s)://host:port of the engine
  std::string server = "http://127.0.0.1:8000";
  std::string model = "main";
  std::string bind = "127.0.0.1";
  int64_t port = 8010;          // 0: any free port
  int64_t metrics_port = 8012;  // 0: any free port
  int64_t depth = 200;
  base::Duration deadline{100};  // of the ranking request
  base::Duration engine_timeout{10 * base::kSecondMs};
  std::string ca_file;  // PEM that https certificates are checked by; empty: the system's
  bool verify_tls = true;
  std::string item_id;         // empty: _id, in Solr id
  config::StringMap features;  // feature → path in a hit
  std::string domain = "search";
  std::string log_requests;  // folder of the rank log; empty: none
  int64_t max_body_bytes = 8 << 20;
  int64_t max_reply_bytes = 64 << 20;
  base::Duration drain_delay{5 * base::kSecondMs};
  base::Duration drain_timeout{20 * base::kSecondMs};
};
const config::Section<Options>& section();

// Throws UserError naming the key.
void check_options(const Options& options);

}  // namespace uniscale::gateway
