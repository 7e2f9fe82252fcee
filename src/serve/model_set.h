// The models that serve: each a shared_ptr<const ServedModel> that is swapped whole, so a request in flight
// ends on the version it began with. A version serves only after its golden requests gave their stored
// scores. Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "bundle/entity_table.h"
#include "runtime/ranker.h"
#include "runtime/raw_request.h"
#include "serve/metrics.h"

namespace uniscale::serve {

struct ServedModel {
  std::string name;
  int64_t version = 0;
  bundle::Manifest manifest;
  std::unique_ptr<const runtime::Ranker> ranker;
  std::vector<runtime::SequenceRule> sequences;
  std::optional<bundle::EntityTable> items, users;
  std::vector<double> head_exponents;  // by head: score = Π head^exponent
  std::vector<std::string> examples;   // the first golden requests, as JSON
};

// What a golden probability may differ by: the manifest's tolerance and, in bf16, what moving each of its
// `num_factors` logits by kBf16LogitBound makes of `prob` (a later task's probability is a product).
double golden_tolerance(const bundle::Manifest& manifest, runtime::Precision precision, double prob,
                        int num_factors);

// Opens a version directory, verifies its hashes and replays its golden requests. Throws UserError saying
// what is wrong.
std::shared_ptr<const ServedModel> load_model(const std::string& directory, const std::string& name,
                                              runtime::Precision precision = runtime::Precision::Fp32);

class ModelSet {
 public:
  // `keep_previous`: the version before the one that serves stays loaded, to be asked for by its number.
  ModelSet(std::string repository, Metrics& metrics, runtime::Precision precision = runtime::Precision::Fp32,
           bool keep_previous = true)
      : repository_(std::move(repository)),
        metrics_(metrics),
        precision_(precision),
        keep_previous_(keep_previous) {}
  // Loads what CURRENT names and is not yet served; a bad version is logged, counted, and not tried again
  // until CURRENT changes. Where all that serves was loaded before, loads the version before it, if none is
  // kept.
  void refresh();
  // Loads what CURRENT names, also if it was refused before or serves already. Returns its version. Throws
  // NotReadyError if there is no such model, UserError saying what is wrong with the package; the old version
  // serves on.
  int64_t load_current(const std::string& name);
  // Serves `model` instead of the version that serves under its name.
  void swap_in(std::shared_ptr<const ServedModel> model);
  // Null if there is no such model.
  std::shared_ptr<const ServedModel> find(const std::string& name) const;
  // The version that serves or the one kept before it; null if it is neither.
  std::shared_ptr<const ServedModel> find(const std::string& name, int64_t version) const;
  std::shared_ptr<const ServedModel> previous(const std::string& name) const;
  std::vector<std::shared_ptr<const ServedModel>> all() const;
  bool ready() const;

 private:
  void load(const std::string& name, int64_t version);
  std::shared_ptr<const ServedModel> open(const std::string& name, int64_t version) const;
  void load_previous(const std::string& name);

  std::string repository_;
  Metrics& metrics_;
  runtime::Precision precision_;
  bool keep_previous_;
  std::mutex load_mutex_;  // one load at a time
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ServedModel>> models_, previous_;
  std::map<std::string, int64_t> refused_;  // model → version that failed; under load_mutex_
  std::map<std::string, int64_t>
      looked_before_;  // model → version whose predecessor was looked for; likewise
};

}  // namespace uniscale::serve
