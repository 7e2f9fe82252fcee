// Scores a RequestBatch from a bundle: no autograd, no torch. kernels → ops → layers → Ranker. A Ranker is
// immutable; `score` may run on many threads, each with its own Workspace. A score never depends on the other
// candidates of the batch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::runtime {

// Probabilities [C] by task that the model has, in the order of `Ranker::heads()`.
struct Scores {
  std::vector<std::vector<float>> heads;
};

// Scratch memory of one thread; grows to the largest batch seen, then allocates nothing.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

class Ranker {
 public:
  virtual ~Ranker() = default;
  // Task names, "click" first.
  virtual const std::vector<std::string>& heads() const = 0;
  virtual const feature::FeatureSpec& spec() const = 0;
  virtual void score(const feature::RequestBatch& batch, Workspace& workspace, Scores& out) const = 0;
};

// Reads feature spec and weights, packs them. Throws UserError if tensors are missing or have other shapes,
// or the architecture is unknown.
std::unique_ptr<const Ranker> load_ranker(const bundle::Bundle& bundle);

}  // namespace uniscale::runtime
