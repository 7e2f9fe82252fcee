// Scores a RequestBatch from a bundle: no autograd, no torch. kernels → layers → Ranker. A Ranker is
// immutable; any number of threads may use it, each with its own Workspace. A score never depends on the
// other candidates of the batch, nor on how a list is cut: the same bits come out. Once a workspace and a
// state have seen the largest batch, scoring neither allocates nor locks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "runtime/kernels/kernels.h"

namespace uniscale::runtime {

// Probabilities [C] by task that the model has, in the order of `Ranker::heads()`.
struct Scores {
  std::vector<std::vector<float>> heads;
};

// What a ranker computed from the request side of a batch: features of users, queries and contexts only, so
// that it can be kept for other candidates of the same request (chunks of a long list, the next page). After
// `prepare` it is read-only and may be shared by threads.
class RequestState {
 public:
  RequestState();
  ~RequestState();
  RequestState(RequestState&&) noexcept;
  RequestState& operator=(RequestState&&) noexcept;
  struct Impl;
  Impl& impl() { return *impl_; }
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// Scratch memory of one thread; grows to the largest batch seen, then allocates nothing.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;
  // How often it had to allocate so far.
  int64_t num_growths() const;
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
  virtual Precision precision() const = 0;
  // Multiply-adds × 2 of one request with `num_candidates`: what is executed, its side counted once.
  virtual double flops(int64_t num_candidates) const = 0;

  // Fills `state` from the request side of `batch`.
  virtual void prepare(const feature::RequestBatch& batch, Workspace& workspace,
                       RequestState& state) const = 0;
  // Scores candidates [begin, end) of the batch that `state` was prepared from (or one with the same request
  // side); out.heads become [end − begin].
  virtual void score_candidates(const feature::RequestBatch& batch, const RequestState& state, int32_t begin,
                                int32_t end, Workspace& workspace, Scores& out) const = 0;
  // Both, for all candidates.
  void score(const feature::RequestBatch& batch, Workspace& workspace, Scores& out) const;
};

// What bf16 may move a logit against fp32 (tested; serving.md, performance.md).
inline constexpr double kBf16LogitBound = 2e-2;

struct RankerOptions {
  Precision precision = Precision::Fp32;
  std::optional<Isa> isa;  // for tests; empty: the fastest of this machine
};

// Reads feature spec and weights, packs them. Throws UserError if tensors are missing or have other shapes,
// the architecture is unknown, or the precision does not fit its widths.
std::unique_ptr<const Ranker> load_ranker(const bundle::Bundle& bundle, const RankerOptions& options = {});

}  // namespace uniscale::runtime
