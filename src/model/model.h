// What every model gives: named dense parameters, logits by task, its size. Embedding tables stand beside it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "feature/feature_spec.h"
#include "json/json.h"
#include "model/embedding_tables.h"
#include "model/options.h"

namespace uniscale::model {

struct Parameter {
  std::string name;  // docs/formats/weights.md
  at::Tensor value;  // a leaf that requires gradients
  bool decays;       // weight decay applies (matrices, not biases)
};

class Model {
 public:
  virtual ~Model() = default;
  // By task, in the order of Options::tasks: logits [C], each candidate through the heads of its request's
  // domain.
  virtual std::vector<at::Tensor> logits(const BatchTensors& batch) const = 0;
  virtual const std::vector<Parameter>& parameters() const = 0;
  // What runtime needs to rebuild the layers (docs/formats/weights.md).
  virtual json::Value architecture_options() const = 0;
  virtual const std::vector<std::string>& tasks() const = 0;
  // Multiply-adds × 2 of one candidate's forward pass, when a request has `candidates_per_request` of them
  // and its side is computed once; with 1 the whole request side is paid by each candidate.
  virtual double flops_per_candidate(double candidates_per_request) const = 0;
  int64_t num_dense_parameters() const;
};

// Options as configured; what they leave open comes from their preset. Throws UserError if they are no model.
std::unique_ptr<Model> make_model(const Options& options, const feature::FeatureSpec& spec,
                                  at::ScalarType dtype);

// Probabilities by task from logits: click σ(a); cart and purchase σ(a)·σ(b), a the click logit (ESMM;
// docs/model.md).
std::vector<at::Tensor> probabilities(const std::vector<at::Tensor>& logits);

}  // namespace uniscale::model
