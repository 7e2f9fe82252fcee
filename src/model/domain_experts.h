// The two banks of domain experts above HHSFT's feature interaction (paper §2.4, §2.5).
#pragma once

#include <string>
#include <vector>

#include "model/layers.h"
#include "model/options.h"

namespace uniscale::model {

// DREF, domain-routed expert fusion: a shared expert and the candidate's own domain's, hard-routed.
//   e = α_0 f_shared(z) + α_1 f_t(z),  α = softmax(gate_t(z))
// Without `dref` e = f_shared(z). A domain that a batch lacks gets no gradient at all in its expert and gate.
class Dref {
 public:
  // z has width `in`.
  Dref(const Options& options, const std::vector<std::string>& domains, int64_t in, at::Generator& generator,
       at::ScalarType dtype, std::vector<Parameter>& parameters);
  // z [C, d_z] → e [C, d_e].
  at::Tensor operator()(const at::Tensor& z, const BatchTensors& batch) const;
  double flops() const;

 private:
  std::vector<Mlp> shared_;           // one
  std::vector<Mlp> experts_, gates_;  // by domain
};

// DAPGA, domain-aware personalised gated attention: a second bank, all of it on every candidate.
//   u_k = g_k(e) for every domain k;  q = W^Q u_t;  K_k = W^K u_k;  V_k = W^V u_k
//   c = Σ_k softmax_k(q·K_k/√d_a) V_k;  o = σ(gate(g)) ⊙ c,  g: the request's gate tokens
// Foreign experts, k ≠ t, are read but get only the share β = isolation of their gradient: it is cut between
// u_k and W^K, W^V (stop_gradient = pre) or after these (post). With β = 0 they compute outside autograd, so
// that they have no gradient at all.
class Dapga {
 public:
  // e has width `in`, the gate tokens together `gate_in`.
  Dapga(const Options& options, const std::vector<std::string>& domains, int64_t in, int64_t gate_in,
        at::Generator& generator, at::ScalarType dtype, std::vector<Parameter>& parameters);
  // e [C, d_e], gate_tokens [R, gate_in] → o [C, d_a].
  at::Tensor operator()(const at::Tensor& e, const at::Tensor& gate_tokens, const BatchTensors& batch) const;
  double request_flops() const { return gate_[0].flops(); }
  double candidate_flops() const;

 private:
  // Rows of domain `own`: c [rows, d_a].
  at::Tensor attend(const at::Tensor& e, size_t own) const;
  at::Tensor foreign_expert(const at::Tensor& e, size_t domain) const;
  at::Tensor partly_stopped(const at::Tensor& x) const;

  bool stop_before_, gate_stops_;
  double isolation_;
  std::vector<Mlp> experts_;  // by domain
  std::vector<Mlp> gate_;     // one
  at::Tensor query_, key_, value_;
};

}  // namespace uniscale::model
