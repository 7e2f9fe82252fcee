// Sample files ① → RequestBatches ②: read by row group in parallel, filtered by provenance and dates, in time
// order or seeded shuffle, batched by candidate count, resumable at an exact row.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/config.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "json/json.h"

namespace uniscale::dataset {

// `[dataset]`.
struct Options {
  std::string samples;                     // folder of a sample set
  std::string from, to;                    // days, inclusive, "2026-03-01"; empty: all
  std::vector<std::string> origins;        // empty: all
  std::vector<std::string> domains;        // empty: all
  std::vector<std::string> label_sources;  // labels of other sources read as 0; empty: all count
  std::string order = "time";              // time | shuffled
  int64_t seed = 1;
  int64_t batch_candidates = 2048;
  int64_t threads = 0;  // reader threads; 0: all CPUs
  // Not a key of the section: fill RequestBatch::item_key, for joins with the truth of a synthetic world.
  bool item_keys = false;
};
const config::Section<Options>& section();

// Where the next batch begins: bit-exact resume.
struct Cursor {
  int64_t epoch = 0;
  int64_t row = 0;  // requests delivered in this epoch
  json::Value to_json() const;
  static Cursor from_json(const json::Value& value, std::string_view where);
};

// What a sample set holds, from its manifests.
struct SampleSet {
  std::vector<base::Day> days;
  int64_t num_requests = 0;
  std::string fingerprint;  // over the manifests of the days chosen
};
SampleSet describe(const Options& options);

class Reader {
 public:
  // Throws UserError if the folder is no sample set, a day is missing, or a feature's column is absent from
  // the files.
  Reader(Options options, const feature::FeatureSpec& spec, Cursor start = {});
  ~Reader();
  // Fills `batch` with whole requests until at least one and at most batch_candidates candidates (a single
  // larger request comes alone). False at the end of the epoch: the cursor then stands at the start of the
  // next one.
  bool next(feature::RequestBatch& batch);
  Cursor cursor() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Mean and standard deviation of the standardised features over the first `max_requests` requests in time
// order; sets them.
void fit_statistics(const Options& options, feature::FeatureSpec& spec, int64_t max_requests);

}  // namespace uniscale::dataset
