#include "dataset/dataset.h"

namespace uniscale::dataset {

const config::Section<Options>& section() {
  static const auto s =
      config::Section<Options>("dataset", "Which samples are read, and in what order")
          .field("samples", &Options::samples, "folder of the sample set (es3.samples)")
          .field("from", &Options::from, "first day, inclusive, as \"2026-03-01\"; empty: the earliest")
          .field("to", &Options::to, "last day, inclusive; empty: the latest")
          .field("origins", &Options::origins, "origins of candidates to keep; empty: all",
                 {.choices = {"exposed", "unexposed", "cross_positive", "cross_negative"},
                  .source = "es3.md §6"})
          .field("domains", &Options::domains, "domains of requests to keep; empty: all")
          .field("label_sources", &Options::label_sources,
                 "labels of other sources are read as 0; empty: all count",
                 {.choices = {"native", "hla_clicked", "hla_exposed", "hla_unexposed", "cross"},
                  .source = "es3.md §3"})
          .field("order", &Options::order, "time: by ts_ms over all users; shuffled: seeded, anew each epoch",
                 {.choices = {"time", "shuffled"}, .source = "model.md"})
          .field("seed", &Options::seed, "seed of the shuffle", {.min = 0})
          .field("batch_candidates", &Options::batch_candidates,
                 "candidates in a batch at most; a larger request comes alone",
                 {.min = 1, .max = 1000000, .unit = "candidates"})
          .field("threads", &Options::threads, "reader threads; 0: all CPUs", {.min = 0, .max = 1024});
  return s;
}

}  // namespace uniscale::dataset
