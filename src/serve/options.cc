#include "serve/options.h"

namespace uniscale::serve {

const config::Section<Options>& section() {
  static const auto s =
      config::Section<Options>("serve", "The ranking server")
          .field("repository", &Options::repository, "model repository (train.repository)",
                 {.source = "serving.md §4"})
          .field("bind", &Options::bind, "address to listen on")
          .field("port", &Options::port, "HTTP port; 0: any free one", {.min = 0, .max = 65535})
          .field("grpc_port", &Options::grpc_port, "gRPC port; 0: any free one; -1: no gRPC",
                 {.min = -1, .max = 65535, .source = "serving.md §2"})
          .field("metrics_port", &Options::metrics_port,
                 "port of /metrics and of admin routes; 0: any free one", {.min = 0, .max = 65535})
          .field("threads", &Options::threads, "scoring threads; 0: all CPUs", {.min = 0, .max = 1024})
          .field("io_threads", &Options::io_threads, "threads that receive and send", {.min = 1, .max = 256})
          .field("precision", &Options::precision,
                 "arithmetic of a model's products; bf16 moves a logit by at most 0.02 and is the faster one",
                 {.choices = {"fp32", "bf16"}, .source = "serving.md §1"})
          .field("max_items", &Options::max_items, "ids in a request at most",
                 {.min = 1, .max = 5000, .source = "serving.md §1"})
          .field("max_in_flight", &Options::max_in_flight,
                 "requests that wait or are scored; more are answered 503",
                 {.min = 1, .max = 1000000, .source = "serving.md §5"})
          .field("max_in_flight_per_client", &Options::max_in_flight_per_client,
                 "the same of one client address; more are answered 429; 0: no limit",
                 {.min = 0, .max = 1000000, .source = "serving.md §3"})
          .field("max_queue_candidates", &Options::max_queue_candidates,
                 "candidates that wait or are scored; more are answered 503",
                 {.min = 1, .max = 100000000, .unit = "candidates", .source = "serving.md §5"})
          .field("max_body_bytes", &Options::max_body_bytes, "largest request body",
                 {.min = 1024, .max = 67108864, .unit = "bytes", .source = "serving.md §3"})
          .field("strict_features", &Options::strict_features,
                 "an unknown feature name is an error, else it is ignored")
          .field("default_deadline", &Options::default_deadline,
                 "deadline of requests that name none; 0: none")
          .field("log_requests", &Options::log_requests,
                 "folder of the rank log that uniscale ingest reads; empty: none",
                 {.source = "serving.md §6"})
          .field("keep_previous", &Options::keep_previous,
                 "keep the version before the one that serves, to be asked for by its number")
          .field("ui", &Options::ui, "serve the page /ui, and golden requests as its examples")
          .field("items_log", &Options::items_log,
                 "folder of the log of fresh items, one server each; empty: no POST /v1/items:upsert")
          .field("max_fresh_items", &Options::max_fresh_items, "fresh items at most; more are answered 413",
                 {.min = 1, .max = 100000000})
          .field("poll_interval", &Options::poll_interval, "how often CURRENT is looked at",
                 {.min = 10, .source = "serving.md §4"})
          .field("drain_delay", &Options::drain_delay,
                 "after SIGTERM: how long the server serves on while it says not ready",
                 {.source = "serving.md §5"})
          .field("drain_timeout", &Options::drain_timeout, "then: how long requests in flight may take",
                 {.source = "serving.md §5"})
          .field("header_timeout", &Options::header_timeout, "time to send a request's header",
                 {.min = 100, .source = "serving.md §3"})
          .field("body_timeout", &Options::body_timeout, "time to send a request's body",
                 {.min = 100, .source = "serving.md §3"});
  return s;
}

}  // namespace uniscale::serve
