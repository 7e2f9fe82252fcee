#include "gateway/options.h"

#include "base/error.h"
#include "gateway/url.h"

namespace uniscale::gateway {

const config::Section<Options>& section() {
  static const auto built =
      config::Section<Options>("gateway", "Between shoppers and their search engine: reranks its answers")
          .field("engine", &Options::engine, "what the upstream speaks",
                 {.choices = {"opensearch", "elasticsearch", "solr"}})
          .field("upstream", &Options::upstream, "the engine, http://host:port or https")
          .field("server", &Options::server, "the ranking server, http://host:port or https")
          .field("model", &Options::model, "the model that ranks")
          .field("bind", &Options::bind, "address to listen on")
          .field("port", &Options::port, "HTTP port; 0: any free one", {.min = 0, .max = 65535})
          .field("metrics_port", &Options::metrics_port, "port of /metrics and /ready; 0: any free one",
                 {.min = 0, .max = 65535})
          .field(
              "depth", &Options::depth,
              "hits that are asked of the engine and ranked; a page that begins behind them passes as it is",
              {.min = 1, .max = 5000, .unit = "hits"})
          .field("deadline", &Options::deadline,
                 "what ranking may add to a search; then the engine's order is served")
          .field("engine_timeout", &Options::engine_timeout, "an engine that takes longer is answered 504")
          .field("ca_file", &Options::ca_file,
                 "PEM file of authorities that https certificates are checked by; empty: the system's")
          .field("verify_tls", &Options::verify_tls,
                 "check certificates and their names; false: anybody may answer for the engine")
          .field("item_id", &Options::item_id,
                 "path of the item's id in a hit, such as _source.sku; empty: _id, in Solr id")
          .field("features", &Options::features,
                 "feature of the ranking request = \"path in a hit\", such as bm25 = \"_score\"")
          .field("domain", &Options::domain, "domain of the lines of the rank log")
          .field("log_requests", &Options::log_requests,
                 "folder of the rank log: every ranked search with all its candidates; empty: none")
          .field("max_body_bytes", &Options::max_body_bytes, "largest request body",
                 {.min = 1024, .max = 67108864, .unit = "bytes"})
          .field("max_reply_bytes", &Options::max_reply_bytes, "largest answer of the engine",
                 {.min = 1024, .max = 1073741824, .unit = "bytes"})
          .field("drain_delay", &Options::drain_delay, "answers go on so long after SIGTERM")
          .field("drain_timeout", &Options::drain_timeout, "searches in flight may take so long after that");
  return built;
}

void check_options(const Options& options) {
  US_REQUIRE(!options.upstream.empty(),
             "gateway.upstream: expected the engine's http://host:port or https, got \"\"");
  parse_url(options.upstream, "gateway.upstream");
  parse_url(options.server, "gateway.server");
}

}  // namespace uniscale::gateway
